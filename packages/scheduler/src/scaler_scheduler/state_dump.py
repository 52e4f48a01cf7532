"""The scheduler's state as text, for the dump on SIGUSR1: reads the tables, changes nothing."""

import time
from collections.abc import Callable, Iterable, Mapping

from scaler_runtime.dump import Lines, age
from scaler_runtime.server import Server
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.state import Batch, Client, State, Worker

_SHOWN_ITEMS = 8


def scheduler_sections(
    core: SchedulerCore, server: Server, instance_id: bytes, clock: Callable[[], float] = time.monotonic
) -> Mapping[str, Lines]:
    """Return what there is to tell, by title."""
    state = core.state
    return {
        "scheduler": lambda: _summary(core, server, instance_id, clock()),
        "messages": lambda: _messages(server),
        "clients": lambda: map(_client, list(state.clients.values())),
        "batches": lambda: (_batch(batch) for client in list(state.clients.values()) for batch in _batches(client)),
        "workers": lambda: (_worker(worker, clock()) for worker in list(state.workers.values())),
        "slices of lost processes": lambda: (
            f"{worker_id} incarnation {incarnation}: {len(held)} slices"
            for (_, worker_id, incarnation), held in list(state.lost.items())
        ),
        "hosts": lambda: _hosts(state, clock()),
        "adapters": lambda: _adapters(state),
        "functions": lambda: (
            f"{function.function_id.hex()} {function.name}: {len(function.payload)} bytes, "
            f"{len(function.clients)} clients, {function.batches} batches, {function.unfinished} unfinished tasks, "
            f"{len(function.workers)} workers"
            for function in list(state.functions.values())
        ),
        "sessions": lambda: server.describe_sessions(clock()),
    }


def _summary(core: SchedulerCore, server: Server, instance_id: bytes, now: float) -> Iterable[str]:
    state = core.state
    yield f"address     {server.address}, instance {instance_id.hex()}"
    yield f"dropped     {server.dropped} messages and events"
    wakeup = core.next_wakeup()
    yield f"wakes up    {'by events only' if wakeup is None else f'in {wakeup - now:.3f} s'}"
    yield (
        f"tables      {len(state.clients)} clients, {len(state.workers)} workers, {len(state.hosts)} hosts, "
        f"{len(state.adapters)} adapters, {len(state.functions)} functions"
    )
    yield f"tasks       {state.unfinished_tasks} unfinished; {state.counts}"
    yield f"made        {state.batch_count} batches, {state.slice_count} slices"
    yield f"consistent  {_verdict(state)}"


def _verdict(state: State) -> str:
    try:
        state.check()
    except AssertionError as error:
        return f"NO: {error}"
    return "yes"


def _messages(server: Server) -> Iterable[str]:
    for name, counts in (("sent", server.sent), ("received", server.received)):
        for kind, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            yield f"{name:9} {kind.__name__:16} {count}"


def _client(client: Client) -> str:
    unfinished = sum(batch.unfinished for batch in client.batches.values())
    return (
        f"{client.name}: {len(client.batches)} batches, {unfinished} unfinished tasks, {client.ready_tasks} ready, "
        f"{len(client.functions)} functions, used {client.used_seconds:.3f} s"
        f"{', congested' if client.congested else ''}, hints {sorted(client.noticed)}"
    )


def _batches(client: Client) -> Iterable[Batch]:
    return list(client.batches.values())


def _batch(batch: Batch) -> str:
    slices = ", ".join(
        f"{piece.slice_id} [{piece.next}, {piece.stop}) on {piece.worker.worker_id}"
        for piece in list(batch.slices.values())[:_SHOWN_ITEMS]
    )
    submitted = batch.submitted
    return (
        f"{submitted.batch_id} of {batch.client.name}: {batch.unfinished} of {submitted.count} tasks of "
        f"{batch.function.name} unfinished, priority {submitted.priority}, ready {list(batch.ready)[:_SHOWN_ITEMS]}, "
        f"cancelling {len(batch.cancelling)}, lost {sum(map(len, batch.failures.values()))} times, "
        f"{len(batch.slices)} slices: {slices}"
    )


def _worker(worker: Worker, now: float) -> str:
    marks = [name for name in ("draining", "stopped") if getattr(worker, name)]
    return (
        f"{worker.worker_id} incarnation {worker.incarnation}, group {worker.group_id or 'none'}: "
        f"{worker.outstanding} tasks in {len(worker.slices)} slices, about {worker.load_seconds:.3f} s, "
        f"{worker.recalls} recalls, progress {age(worker.progressed_at, now)}, {len(worker.functions)} functions, "
        f"offers {worker.capabilities} {' '.join(marks)}"
    )


def _hosts(state: State, now: float) -> Iterable[str]:
    for host in list(state.hosts.values()):
        yield (
            f"{host.name}: {len(host.workers)} workers, {len(host.reported)} in its report of "
            f"{age(host.reported_at, now)}, draining {sorted(host.draining)[:_SHOWN_ITEMS]}"
        )


def _adapters(state: State) -> Iterable[str]:
    for adapter in list(state.adapters.values()):
        report = adapter.report
        yield (
            f"{adapter.name}: at most {report.max_worker_groups} groups of {report.workers_per_group}, revision "
            f"{adapter.revision}, reported {report.revision}{', away' if adapter.is_away else ''}, full {adapter.full}"
        )
        for group in list(adapter.groups.values()):
            yield f"  {group}"
