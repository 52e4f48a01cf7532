"""What clients say: functions, batches, cancelling, leaving. And what the scheduler hints to them."""

from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Status, numbers
from scaler_protocol.errors import ProtocolError
from scaler_runtime.core import Peer
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Client, Function, Outbox, State

MAX_FUNCTIONS_OF_A_CLIENT = 10_000
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

    def join(self, peer: Peer, register: m.Register) -> None:
        """Take in a client."""
        self._state.clients[peer] = Client(peer, register.name)
        self._out.log(INFO, f"client {register.name} of {register.host_name} (pid {register.pid}) joined")

    def leave(self, client: Client, reason: str) -> None:
        """Drop a client's tasks, running ones too."""
        del self._state.clients[client.peer]
        unfinished = sum(batch.unfinished for batch in client.batches.values())
        for batch in list(client.batches.values()):
            self._dispatch.abandon(batch, force=True)
        self._dispatch.lanes.forget(client)
        for function in list(client.functions.values()):
            self._forget(client, function)
        self._out.log(INFO, f"client {client.name} left ({reason}); {unfinished} unfinished tasks dropped")

    def on_define(self, client: Client, define: m.DefineFunction) -> None:
        """Keep a function; the same bytes have the same id, whoever defines them."""
        if define.function_id not in client.functions and len(client.functions) >= MAX_FUNCTIONS_OF_A_CLIENT:
            raise ProtocolError(f"client {client.name} keeps more than {MAX_FUNCTIONS_OF_A_CLIENT} functions")
        function = self._state.functions.get(define.function_id)
        if function is None:
            function = Function(define.function_id, define.name, define.payload)
            self._state.functions[define.function_id] = function
        function.clients.add(client.peer)
        client.functions[define.function_id] = function

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
        function = client.functions.get(batch.function_id)
        if function is None:
            text = "the scheduler does not know the function of this task"
            self._dispatch.answer(client, batch.batch_id, range(batch.count), Status.REFUSED, text)
            return
        if batch.capabilities and not self._settings.policies.allocate.heeds_capabilities:
            self.hint(client, "capabilities ignored", CAPABILITIES_IGNORED)
        accepted = self._admitted(batch)
        self._dispatch.submit(client, batch, function, accepted)
        if accepted < batch.count:
            limit = self._settings.max_number_of_tasks_waiting
            text = f"the scheduler is full: {limit} tasks wait for a worker already (max_number_of_tasks_waiting)"
            refused = range(accepted, batch.count)
            self._dispatch.answer(client, batch.batch_id, refused, Status.REFUSED, text)

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
        """End the scheduler, and everything that is connected to it."""
        everyone = (*self._state.worker_of_peer, *self._state.hosts, *self._state.adapters, *self._state.clients)
        for peer in everyone:
            self._out.send(peer, m.Shutdown(reason))
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

    def _forget(self, client: Client, function: Function) -> None:
        del client.functions[function.function_id]
        function.clients.discard(client.peer)
        self._dispatch.release(function)

    def _admitted(self, batch: m.SubmitBatch) -> int:
        """Return how many tasks may come in: the places on workers and the limit beyond.

        Nested ones always may, and those of a batch that a scheduler before this one had taken in and begun.
        """
        limit = self._settings.max_number_of_tasks_waiting
        if limit < 0 or batch.priority > 0 or batch.finished:
            return batch.count
        places = sum(
            max(0, worker.queue_size - worker.outstanding)
            for worker in self._state.workers.values()
            if not worker.draining and not worker.stopped
        )
        return max(0, min(batch.count, limit + places - self._dispatch.lanes.ready_tasks))
