"""The scheduler's core: events in, effects out. Entry point of its tables; each conversation has its own file.

No IO, no clock: `now` is seconds of a monotonic clock that the driver reads.
"""

import sys
from collections.abc import Callable
from typing import Any

from scaler_protocol import messages as m
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from scaler_runtime.wakeups import earliest
from scaler_scheduler.core.adapters import Adapters
from scaler_scheduler.core.balance import Balance
from scaler_scheduler.core.clients import Clients
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.lending import Lending
from scaler_scheduler.core.output import Output
from scaler_scheduler.core.part import Part, check_unconcerned
from scaler_scheduler.core.resumption import Resumption
from scaler_scheduler.core.scaling import Scaling
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Outbox, State
from scaler_scheduler.core.waiting import Waiting
from scaler_scheduler.core.workers import Workers

_ACCEPTED: dict[str, frozenset[type[Any]]] = {
    "client": frozenset(
        {
            m.DefineFunction,
            m.ForgetFunctions,
            m.SubmitBatch,
            m.CancelTasks,
            m.AbandonBatches,
            m.HoldOutput,
            m.RequestShutdown,
        }
    ),
    "worker": frozenset({m.WorkerHello, m.TaskResults, m.SlicesReturned, m.TaskOutput}),
    "host": frozenset({m.HostReport, m.ProcessEnded, m.TaskOutput}),
    "adapter": frozenset({m.AdapterReport}),
}
"""Which messages a peer may send, by its role."""


class SchedulerCore:
    """See the module."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.state = State(first_slice_id=settings.first_slice_id)
        self._out = Outbox()
        self._roles: dict[c.Peer, str] = {}
        balance = Balance(settings.load_balance_seconds, settings.load_balance_trigger_times)
        dispatch = Dispatch(self.state, self._out, settings.policies.allocate, balance)
        self._dispatch = dispatch
        self._output = Output(self.state, self._out)
        self._clients = Clients(settings, self.state, self._out, dispatch)
        self._lending = Lending(settings, self.state, self._out, dispatch)
        self._resumption = Resumption(settings, self.state, self._out, dispatch, now)
        self._workers = Workers(settings, self.state, self._out, dispatch, self._lending)
        self._adapters = Adapters(settings, self.state, self._out, dispatch, self._clients)
        self._scaling = Scaling(settings, self.state, dispatch, self._adapters, now)
        self._waiting = Waiting(settings, self.state, self._out, dispatch, self._clients)
        self._turn: tuple[tuple[Part, Callable[[float], None]], ...] = (
            (self._clients.retention, self._clients.retention.settle),
            (self._workers, self._workers.settle),
            (self._resumption, self._resumption.settle),
            (self._lending, self._lending.settle),
            (dispatch, dispatch.settle),
            (self._lending, self._lending.lend),
            (self._scaling, self._scaling.settle),
            (self._adapters, self._adapters.settle),
            (self._waiting, self._waiting.settle),
        )
        """What is decided in a turn, by whom and in which order."""
        self._parts = tuple(dict.fromkeys(part for part, _ in self._turn))

    def handle(self, event: c.Event, now: float) -> list[c.Effect]:
        """Take in one event; the effects are to be carried out in their order.

        Raises `ProtocolError` for a message that is out of place, which changes nothing. What was decided before any
        other error leaves with the effects of the next event: the tables count on it.
        """
        _HANDLERS[type(event)](self, event, now)
        return self._out.take()

    def next_wakeup(self) -> float | None:
        """Return when `Settle` is wanted at the latest."""
        return earliest(*[part.next_wakeup() for part in self._parts if part.is_concerned])

    def check(self, now: float) -> None:
        """Raise `AssertionError` unless the tables agree, and nobody misses a turn or a wake-up by not being asked.

        To be called after `Settle`.
        """
        self.state.check()
        for part in self._parts:
            check_unconcerned(part, self._out, now)

    # ---- events

    def on_joined(self, event: c.PeerJoined, now: float) -> None:
        role = event.register.role
        self._roles[event.peer] = role
        if role == "client":
            self._clients.join(event.peer, event.register)
            self._lending.client_joined(self.state.clients[event.peer])
            self._resumption.client_joined(self.state.clients[event.peer], event.register, now)
        elif role == "host":
            self._workers.host_joined(event.peer, event.register)

    def on_left(self, event: c.PeerLeft, now: float) -> None:
        self._roles.pop(event.peer, None)
        if (client := self.state.clients.get(event.peer)) is not None:
            self._lending.client_left(client)
            self._resumption.client_left(client)
            self._output.release(client)
            self._clients.leave(client, event.reason, orderly=event.orderly, now=now)
        elif (worker := self.state.worker_of_peer.get(event.peer)) is not None:
            self._workers.worker_left(worker, event.reason)
        elif (host := self.state.hosts.get(event.peer)) is not None:
            self._workers.host_left(host, event.reason)
        elif (adapter := self.state.adapters.get(event.peer)) is not None:
            self._adapters.leave(adapter, event.reason)

    def on_connection_changed(self, event: c.PeerAttached | c.PeerDetached, now: float) -> None:
        """A session outlives its connections: little changes until the peer is back or has left."""
        adapter = self.state.adapters.get(event.peer)
        if adapter is not None:
            adapter.is_away = isinstance(event, c.PeerDetached)

    def on_congested(self, event: c.Congested, now: float) -> None:
        self._set_congested(event.peer, congested=True)

    def on_relieved(self, event: c.Relieved, now: float) -> None:
        self._set_congested(event.peer, congested=False)

    def _set_congested(self, peer: c.Peer, *, congested: bool) -> None:
        client = self.state.clients.get(peer)
        if client is not None:
            self._output.set_full(client, is_full=congested)

    def on_received(self, event: c.Received, now: float) -> None:
        kind = type(event.message)
        role = self._roles.get(event.peer, "")
        if kind not in _ACCEPTED.get(role, ()):
            raise ProtocolError(f"{kind.__name__} from a peer of role {role!r}")
        _MESSAGES[kind](self, event.peer, event.message, now)

    def on_end_asked(self, event: c.EndAsked, now: float) -> None:
        self._clients.end_all(event.reason)

    def on_settle(self, event: c.Settle, now: float) -> None:
        for part, decide in self._turn:
            if part.is_concerned:
                decide(now)
        if sys.flags.dev_mode:
            self.check(now)

    # ---- messages

    def from_client(self, peer: c.Peer, message: m.Message, now: float) -> None:
        _CLIENT_MESSAGES[type(message)](self._clients, self.state.clients[peer], message)

    def on_submit(self, peer: c.Peer, message: m.SubmitBatch, now: float) -> None:
        client = self.state.clients[peer]
        self._clients.on_submit(client, message)
        self._resumption.submitted(client, message.batch_id, now)

    def on_hello(self, peer: c.Peer, message: m.WorkerHello, now: float) -> None:
        self._workers.on_hello(peer, message, now)
        worker = self.state.worker_of_peer.get(peer)
        if worker is not None and message.held:
            self._resumption.greeted(worker, message, now)
        self._adapters.on_hello(message.group_id, now)

    def on_results(self, peer: c.Peer, message: m.TaskResults, now: float) -> None:
        worker = self.state.worker_of_peer.get(peer)
        if worker is None:
            self._dispatch.outcomes.drop(message)
        elif (results := self._resumption.take(worker, message)) is not None:
            self._dispatch.on_results(worker, results, now)

    def on_returned(self, peer: c.Peer, message: m.SlicesReturned, now: float) -> None:
        worker = self.state.worker_of_peer.get(peer)
        if worker is not None:
            self._dispatch.on_returned(worker, message)

    def on_output(self, peer: c.Peer, message: m.TaskOutput, now: float) -> None:
        self._output.pass_on(peer, message)

    def on_hold(self, peer: c.Peer, message: m.HoldOutput, now: float) -> None:
        self._output.hold(self.state.clients[peer], message)

    def on_host_report(self, peer: c.Peer, message: m.HostReport, now: float) -> None:
        self._workers.on_report(self.state.hosts[peer], message, now)

    def on_process_ended(self, peer: c.Peer, message: m.ProcessEnded, now: float) -> None:
        self._workers.on_process_ended(self.state.hosts[peer], message)
        self._output.end(message.worker_id, message.incarnation)

    def on_adapter_report(self, peer: c.Peer, message: m.AdapterReport, now: float) -> None:
        self._adapters.on_report(peer, message, now)
        self._scaling.is_concerned = True


_HANDLERS: dict[type[Any], Callable[[SchedulerCore, Any, float], None]] = {
    c.PeerJoined: SchedulerCore.on_joined,
    c.PeerLeft: SchedulerCore.on_left,
    c.PeerAttached: SchedulerCore.on_connection_changed,
    c.PeerDetached: SchedulerCore.on_connection_changed,
    c.Congested: SchedulerCore.on_congested,
    c.Relieved: SchedulerCore.on_relieved,
    c.Received: SchedulerCore.on_received,
    c.EndAsked: SchedulerCore.on_end_asked,
    c.Settle: SchedulerCore.on_settle,
}
_MESSAGES: dict[type[Any], Callable[[SchedulerCore, c.Peer, Any, float], None]] = {
    **dict.fromkeys(_ACCEPTED["client"], SchedulerCore.from_client),
    m.SubmitBatch: SchedulerCore.on_submit,
    m.WorkerHello: SchedulerCore.on_hello,
    m.TaskResults: SchedulerCore.on_results,
    m.SlicesReturned: SchedulerCore.on_returned,
    m.TaskOutput: SchedulerCore.on_output,
    m.HoldOutput: SchedulerCore.on_hold,
    m.HostReport: SchedulerCore.on_host_report,
    m.ProcessEnded: SchedulerCore.on_process_ended,
    m.AdapterReport: SchedulerCore.on_adapter_report,
}
_CLIENT_MESSAGES: dict[type[Any], Callable[[Clients, Any, Any], None]] = {
    m.DefineFunction: Clients.on_define,
    m.ForgetFunctions: Clients.on_forget,
    m.CancelTasks: Clients.on_cancel,
    m.AbandonBatches: Clients.on_abandon,
    m.RequestShutdown: Clients.on_shutdown,
}
