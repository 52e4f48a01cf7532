"""What monitors are told: the state at one moment, made only when somebody listens. Changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from scaler_protocol.identifiers import root_of
from scaler_protocol.messages import HostReport, Message, WorkerReport
from scaler_protocol.monitor_messages import Count, MonitorReport, WorkerFigures
from scaler_scheduler.core.counts import TaskCounts
from scaler_scheduler.core.state import Host, State, Worker


@dataclass(slots=True)
class ProcessFigures:
    """What the scheduler's process knows of itself; fields as in the report."""

    cpu: float = 0.0
    rss: int = 0
    free_memory: int = 0
    dropped: int = 0
    objects: int = 0
    object_bytes: int = 0
    sent: Mapping[type[Message], int] = field(default_factory=dict[type[Message], int])
    received: Mapping[type[Message], int] = field(default_factory=dict[type[Message], int])


def make_report(state: State, process: ProcessFigures, now: float) -> MonitorReport:
    """Return the whole report."""
    reported = {entry.worker_id: entry for host in state.hosts.values() for entry in host.report.workers}
    return MonitorReport(
        cpu=process.cpu,
        rss=process.rss,
        free_memory=process.free_memory,
        dropped=process.dropped,
        ready=sum(client.ready_tasks for client in state.clients.values()),
        functions=len(state.functions),
        function_bytes=sum(len(function.payload) for function in state.functions.values()),
        objects=process.objects,
        object_bytes=process.object_bytes,
        tasks=_task_counts(state.counts),
        sent=_message_counts(process.sent),
        received=_message_counts(process.received),
        clients=[
            Count(client.name, sum(batch.unfinished for batch in client.batches.values()))
            for client in state.clients.values()
        ],
        workers=[
            *(
                _of_worker(state, worker, reported.get(worker.worker_id), now)
                for worker in state.workers.values()
                if not worker.lender
            ),
            *(
                _figures(host, entry, now)
                for host in state.hosts.values()
                for entry in host.report.workers
                if entry.worker_id not in state.workers and root_of(entry.worker_id) == entry.worker_id
            ),
        ],
    )


def _of_worker(state: State, worker: Worker, entry: WorkerReport | None, now: float) -> WorkerFigures:
    """Put together what the scheduler knows of a worker and what its host said, which may be older, or nothing."""
    if entry is None or entry.incarnation != worker.incarnation:
        entry = WorkerReport(worker.worker_id, worker.group_id, worker.incarnation, 0, "")
    figures = _figures(state.hosts.get(worker.host), entry, now)
    figures.places = max(0, worker.queue_size - worker.outstanding)
    helpers = state.helpers.get(worker.worker_id, {})
    figures.outstanding = worker.outstanding + sum(helper.outstanding for helper in helpers)
    figures.suspended = sum(processor.blocked for processor in (worker, *helpers))
    figures.queued = max(0, figures.outstanding - figures.suspended - 1)
    figures.initialised = True
    return figures


def _figures(host: Host | None, entry: WorkerReport, now: float) -> WorkerFigures:
    """Return what a host says of a worker, whose process is not ready: it is the first one, or replaces another."""
    report = HostReport([]) if host is None else host.report
    silent = 0.0 if host is None or host.reported_at is None else now - host.reported_at
    return WorkerFigures(
        worker_id=entry.worker_id,
        group_id=entry.group_id,
        host_cpu=report.cpu,
        host_rss=report.rss,
        cpu=entry.cpu,
        rss=entry.rss,
        free_memory=report.free_memory,
        places=0,
        outstanding=0,
        queued=0,
        suspended=0,
        lag_seconds=report.round_trip_seconds / 2,
        silent_seconds=silent,
        initialised=False,
        has_task=entry.has_task,
        task_lock=entry.task_lock,
    )


def _task_counts(counts: TaskCounts) -> list[Count]:
    return [Count(name, getattr(counts, attribute)) for attribute, name in _STATES]


def _message_counts(counts: Mapping[type[Message], int]) -> list[Count]:
    return [Count(kind.__name__, count) for kind, count in sorted(counts.items(), key=lambda pair: -pair[1])]


_STATES = [(item.name, item.name.title().replace("_", "")) for item in fields(TaskCounts)]
"""Attributes and the names of the states in the documentation: `balance_canceling` is BalanceCanceling."""
