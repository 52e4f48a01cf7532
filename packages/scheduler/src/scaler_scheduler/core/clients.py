"""What clients say: functions, batches, cancelling, leaving. And what the scheduler hints to them."""

from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Status, numbers
from scaler_runtime.core import Peer
from scaler_scheduler.core import dependencies
from scaler_scheduler.core.credit import excess_of_batch, excess_of_function
from scaler_scheduler.core.dispatch import Dispatch, unfinished
from scaler_scheduler.core.recent import Recent
from scaler_scheduler.core.retention import Retention
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Client, Function, Outbox, State

_MAX_GRAPHS = 1000
"""Of so many graphs of a client it is remembered whether they were accepted."""

CAPABILITIES_IGNORED = (
    "capabilities of tasks are ignored: start the scheduler with "
    '--policy-content "allocate=capability; scaling=..." to have them heeded'
)


class Clients:
    """The scheduler's conversation with its clients."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self.retention = Retention(settings.object_retention_seconds, state, out, dispatch)

    def join(self, peer: Peer, register: m.Register) -> None:
        """Take in a client."""
        home = (register.parent_worker, register.parent_incarnation) if register.parent_worker else None
        self._state.clients[peer] = Client(peer, register.name, home)
        self._out.log(INFO, f"client {register.name} of {register.host_name} (pid {register.pid}) joined")

    def leave(self, client: Client, reason: str, *, orderly: bool, now: float) -> None:
        """Drop a client's tasks, running ones too; what it had stored as well, unless it may come back for it."""
        del self._state.clients[client.peer]
        unfinished = sum(batch.unfinished for batch in client.batches.values())
        for batch in reversed(list(client.batches.values())):  # who waits goes before what it waits for
            self._dispatch.abandon(batch, force=True)
        self._dispatch.lanes.forget(client)
        if orderly or client.dismissed:
            self.retention.free(client)
        else:
            self.retention.keep(client, now)
        self._out.log(INFO, f"client {client.name} left ({reason}); {unfinished} unfinished tasks dropped")

    def on_define(self, client: Client, define: m.DefineFunction) -> None:
        """Keep a function; the same bytes have the same id, whoever defines them."""
        excess = excess_of_function(client, define)
        if excess:
            self._send_away(client, excess)
            return
        if define.function_id in client.functions:
            return
        function = self._state.functions.get(define.function_id)
        if function is None:
            function = Function(define.function_id, define.name, define.payload)
            self._state.functions[define.function_id] = function
        function.clients.add(client.peer)
        client.functions[define.function_id] = function
        client.function_bytes += len(function.payload)

    def on_forget(self, client: Client, forget: m.ForgetFunctions) -> None:
        """Drop what the client will not use without defining it again."""
        for function_id in forget.function_ids:
            function = client.functions.get(function_id)
            if function is not None:
                self._forget(client, function)

    def on_submit(self, client: Client, batch: m.SubmitBatch) -> None:
        """Take in a batch as far as the waiting limit allows; the rest is answered at once."""
        if batch.batch_id in client.batches:
            return
        excess = excess_of_batch(self._settings, client, batch)
        if excess:
            self._send_away(client, excess)
            return
        function = client.functions.get(batch.function_id)
        if function is None:
            text = "the scheduler does not know the function of this task"
            self._dispatch.outcomes.answer(client, batch.batch_id, range(batch.count), Status.REFUSED, text)
            return
        if batch.capabilities and not self._settings.policies.allocate.heeds_capabilities:
            self.hint(client, "capabilities ignored", CAPABILITIES_IGNORED)
        if batch.dependency_counts or batch.graph:
            self._submit_linked(client, batch, function)
            return
        accepted = self._admitted(batch)
        self._dispatch.submit(client, batch, function, accepted)
        if accepted < batch.count:
            self._dispatch.outcomes.answer(
                client, batch.batch_id, range(accepted, batch.count), Status.REFUSED, self._full_text()
            )

    def on_cancel(self, client: Client, cancel: m.CancelTasks) -> None:
        """End tasks where that is still possible."""
        batch = client.batches.get(cancel.batch_id)
        for start, count in zip(numbers(U32, cancel.starts), numbers(U32, cancel.counts), strict=True):
            if batch is not None and cancel.batch_id in client.batches:
                self._dispatch.cancel(batch, start, start + count)
            else:
                self._state.counts.canceled_not_found += count

    def on_abandon(self, client: Client, abandon: m.AbandonBatches) -> None:
        """Drop batches; what runs ends unheard."""
        for batch_id in abandon.batch_ids:
            batch = client.batches.get(batch_id)
            if batch is not None:
                self._dispatch.abandon(batch, force=False)

    def on_shutdown(self, client: Client, _: m.RequestShutdown) -> None:
        """End everything, unless protected."""
        if self._settings.protected:
            reason = "Scheduler is in protected mode. Can't shutdown"
            self._out.log(WARNING, f"client {client.name} asked to shut down: refused, the scheduler is protected")
            self._out.send(client.peer, m.ShutdownRefused(reason))
            return
        self.end_all(f"client {client.name} shut the scheduler down")

    def end_all(self, reason: str) -> None:
        """End the scheduler, and everything that is connected to it; adapters must know why their workers end."""
        everyone = (*self._state.adapters, *self._state.hosts, *self._state.worker_of_peer, *self._state.clients)
        for peer in everyone:
            self._out.send(peer, m.Shutdown(reason))
        for client in self._state.clients:
            self._out.delete_owner(client)
        self._out.stop(reason)

    def hint(self, client: Client, cause: str, text: str) -> None:
        """Tell the person at a client something, once for each cause."""
        if cause not in client.noticed:
            client.noticed.add(cause)
            self._out.send(client.peer, m.Notice(cause, text))

    def hint_waiting(self, cause: str, text: str) -> None:
        """Tell every client whose tasks wait."""
        for client in self._state.clients.values():
            if client.ready_tasks:
                self.hint(client, cause, text)

    def _send_away(self, client: Client, excess: str) -> None:
        """Have a client go that asks for more than it was told it may."""
        if not client.dismissed:
            client.dismissed = True
            self._out.log(WARNING, f"client {client.name} is sent away: {excess}")
            self._out.end_session(client.peer, f"it asks for more than it may: {excess}")

    def _forget(self, client: Client, function: Function) -> None:
        del client.functions[function.function_id]
        client.function_bytes -= len(function.payload)
        function.clients.discard(client.peer)
        self._dispatch.outcomes.release(function)

    def _submit_linked(self, client: Client, batch: m.SubmitBatch, function: Function) -> None:
        """Take in a batch whose tasks wait for others, or a part of a graph. Only ready tasks may be too many."""
        if batch.graph and not self._is_graph_accepted(client, batch):
            self._dispatch.outcomes.answer(
                client, batch.batch_id, range(batch.count), Status.REFUSED, self._full_text()
            )
            return
        links = None
        if batch.dependency_counts:
            client.recent = client.recent or Recent()
            links = dependencies.resolve(client, batch, unfinished(batch, batch.count))
            if links is None:
                self._dispatch.outcomes.answer(client, batch.batch_id, range(batch.count), Status.DEPENDENCY_OVER, "")
                return
        room = self._room(batch)
        self._dispatch.submit(client, batch, function, batch.count, links)
        accepted = client.batches.get(batch.batch_id)
        if room is not None and not batch.graph and accepted is not None:
            self._dispatch.refuse(accepted, room, self._full_text())

    def _is_graph_accepted(self, client: Client, batch: m.SubmitBatch) -> bool:
        """Decide with the first batch of a graph for all others."""
        accepted = client.graphs.get(batch.graph)
        if accepted is None:
            room = self._room(batch)
            accepted = client.graphs[batch.graph] = room is None or batch.graph_ready <= room
            if len(client.graphs) > _MAX_GRAPHS:
                del client.graphs[next(iter(client.graphs))]
        return accepted

    def _full_text(self) -> str:
        limit = self._settings.max_number_of_tasks_waiting
        return f"the scheduler is full: {limit} tasks wait for a worker already (max_number_of_tasks_waiting)"

    def _admitted(self, batch: m.SubmitBatch) -> int:
        """Return how many tasks may come in."""
        room = self._room(batch)
        return batch.count if room is None else min(batch.count, room)

    def _room(self, batch: m.SubmitBatch) -> int | None:
        """Return how many more ready tasks may come in: the places on workers and the limit beyond; None: any number.

        Nested ones always may, and those of a batch that a scheduler before this one had taken in and begun.
        """
        limit = self._settings.max_number_of_tasks_waiting
        if limit < 0 or batch.priority > 0 or batch.finished:
            return None
        places = sum(
            max(0, worker.queue_size - worker.outstanding)
            for worker in self._state.workers.values()
            if not (worker.draining or worker.stopped or worker.blocked or worker.lender)
        )
        return max(0, limit + places - self._dispatch.lanes.ready_tasks)
