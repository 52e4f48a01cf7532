"""What tasks write, on its way to their client; and the client's wish, back to those who send it, to hear no more."""

from scaler_protocol.messages import HoldOutput, TaskOutput
from scaler_runtime.core import Peer
from scaler_scheduler.core.state import Client, Outbox, State

_Heard = tuple[int, int]
"""The stream of a process that was heard last, and how many bytes of it."""

_MAX_HEARD = 10_000


class Output:
    """Passes output on as it comes: who may send how much is for the worker to know, who has a bound of its own."""

    def __init__(self, state: State, out: Outbox) -> None:
        self._state = state
        self._out = out
        self._heard: dict[tuple[str, int], dict[bool, _Heard]] = {}
        """By worker and incarnation, and whether it is standard error."""

    def pass_on(self, sender: Peer, output: TaskOutput) -> None:
        """Send output to its client. Where the client is gone, it is dropped; where it wants no more, so is told.

        Of what a host says for a dead process, only what the process itself had not said. What comes of that later is
        dropped.
        """
        worker = self._state.worker_of_peer.get(sender)
        if worker is not None:
            heard = self._heard.setdefault((worker.worker_id, worker.incarnation), {})
            heard[output.is_error] = output.stream, output.position + len(output.payload)
            if len(self._heard) > _MAX_HEARD:
                del self._heard[next(iter(self._heard))]
        elif sender not in self._state.hosts:
            return
        else:
            stream, end = self._heard.get((output.worker_id, output.incarnation), {}).get(output.is_error, (0, 0))
            known = end - output.position if stream == output.stream else 0
            if known >= len(output.payload):
                return
            output.payload = output.payload[max(0, known) :]
        client = self._state.clients.get(output.client_id)
        if client is None:
            return
        output.client_id = b""
        self._out.send(client.peer, output)
        if client.congested and sender in self._state.worker_of_peer and sender not in client.silenced:
            client.silenced[sender] = None
            self._out.send(sender, HoldOutput(client.peer, is_held=True))

    def end(self, worker_id: str, incarnation: int) -> None:
        """Forget a process of which nothing more is to come."""
        self._heard.pop((worker_id, incarnation), None)

    def hold(self, client: Client, hold: HoldOutput) -> None:
        """The client's terminal is slow, or has caught up."""
        client.is_slow = hold.is_held
        self._settle(client)

    def set_full(self, client: Client, *, is_full: bool) -> None:
        """The client takes in less than is sent to it, or has caught up."""
        client.is_full = is_full
        self._settle(client)

    def release(self, client: Client) -> None:
        """Let those go on who were told to wait for the client."""
        for worker in client.silenced:
            self._out.send(worker, HoldOutput(client.peer, is_held=False))
        client.silenced.clear()

    def _settle(self, client: Client) -> None:
        client.congested = client.is_slow or client.is_full
        if not client.congested:
            self.release(client)
