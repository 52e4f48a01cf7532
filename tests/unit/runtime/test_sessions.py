"""Both ends of a session talk through connections that break; no socket is involved."""

import pytest

from scaler_protocol import messages as m
from scaler_runtime import sessions as sessions_module
from scaler_runtime.core import Congested, PeerAttached, PeerDetached, PeerJoined, PeerLeft, Received, Relieved
from scaler_runtime.link import size_of
from scaler_runtime.session import MAX_REPEATS, Identity, Incoming, Rejected, Session, Up
from scaler_runtime.sessions import CONGESTED_BYTES, Patience, Sessions


class Wire:
    """Carries packets between one peer and the table until neither has anything to say."""

    def __init__(self, table=None):
        self.table = sessions() if table is None else table
        self.peer = Session(Identity("client", "test"))
        self.routes = 0
        self.now = 0.0

    def connect(self):
        if self.routes:
            self.peer.on_disconnected()
        self.routes += 1
        self.peer.on_connected()
        return self.exchange()

    @property
    def route(self):
        return f"route {id(self)} {self.routes}".encode()

    def exchange(self):
        at_server, at_peer, busy = [], [], True
        while busy:
            busy = False
            for packet in list(self.peer.packets()):
                at_server += self.table.receive(self.route, packet, self.now)
                busy = True
            for route, packet in list(self.table.outgoing()):
                busy = True
                if route == self.route:
                    at_peer += self.peer.on_packet(packet)
        return at_server, at_peer


def sessions(instance=b"i" * 16, **patience):
    limits = {"client": Patience(patience.get("silent"), patience.get("detached"))}
    return Sessions(instance, limits, max_unfinished_tasks=10, max_unfinished_bytes=100)


def test_a_peer_joins_and_learns_its_credit():
    at_server, at_peer = Wire().connect()

    assert [type(event) for event in at_server] == [PeerJoined]
    (up,) = at_peer
    assert isinstance(up, Up)
    assert up.fresh
    assert (up.registered.max_unfinished_tasks, up.registered.max_unfinished_bytes) == (10, 100)


def test_what_was_lost_with_a_connection_is_said_again_and_only_once():
    wire = Wire()
    wire.connect()
    wire.peer.send(m.AbandonBatches([1]))
    wire.exchange()
    wire.peer.send(m.AbandonBatches([2]))
    list(wire.peer.packets())  # lost on the way
    wire.table.send(wire.peer.identity.session_id, m.Notice("c", "t"))
    list(wire.table.outgoing())  # lost too

    at_server, at_peer = wire.connect()

    peer = wire.peer.identity.session_id
    assert at_server == [PeerAttached(peer), Received(peer, m.AbandonBatches([2]))]
    assert [type(event) for event in at_peer] == [Up, Incoming]
    assert not at_peer[0].fresh


def test_the_last_words_of_a_connection_count_after_its_end():
    wire = Wire()
    wire.connect()
    wire.table.send(wire.peer.identity.session_id, m.Notice("c", "t"))
    ((_, last),) = wire.table.outgoing()
    wire.peer.on_disconnected()

    assert wire.peer.on_packet(last) == [Incoming(m.Notice("c", "t"))]


def test_a_new_scheduler_is_noticed():
    wire = Wire()
    wire.connect()
    wire.table = sessions(b"j" * 16)

    at_server, at_peer = wire.connect()

    assert [type(event) for event in at_server] == [PeerJoined]
    assert at_peer[0].fresh


def test_an_unknown_route_is_told_to_register():
    wire = Wire()
    wire.connect()
    wire.table = sessions()
    wire.peer.send(m.AbandonBatches([1]))

    at_server, at_peer = wire.exchange()

    assert [type(event) for event in at_server] == [PeerJoined]
    assert [type(event) for event in at_peer] == [Up]


def test_a_stranger_cannot_take_over_a_session():
    wire, thief = Wire(), Wire()
    wire.connect()
    thief.table = wire.table
    thief.peer.identity.session_id = wire.peer.identity.session_id

    at_server, at_peer = thief.connect()

    assert at_server == []
    assert [type(event) for event in at_peer] == [Rejected]
    wire.peer.send(m.AbandonBatches([1]))
    assert wire.exchange()[0] == [Received(wire.peer.identity.session_id, m.AbandonBatches([1]))]


def test_another_protocol_version_is_refused_in_one_line():
    wire = Wire()
    wire.peer.on_connected()
    (packet,) = wire.peer.packets()
    packet.messages[0].protocol_version = 99
    wire.table.receive(b"r", packet, 0.0)

    ((_, answer),) = wire.table.outgoing()

    assert "protocol 99" in answer.messages[0].reason
    assert "\n" not in answer.messages[0].reason


def test_another_python_version_is_a_warning():
    wire = Wire()
    wire.peer.on_connected()
    (packet,) = wire.peer.packets()
    packet.messages[0].python_version = "3.1"
    wire.table.receive(b"r", packet, 0.0)

    ((_, answer),) = wire.table.outgoing()

    assert "3.1" in answer.messages[0].warning


@pytest.mark.parametrize(("silent", "detached", "at"), [(60, None, 60.0), (None, 5, 5.0)])
def test_a_peer_that_stays_away_leaves(silent, detached, at):
    wire = Wire(sessions(silent=silent, detached=detached))
    wire.connect()
    peer = wire.peer.identity.session_id
    assert wire.table.unreachable(wire.route, 0.0) == [PeerDetached(peer)]

    assert wire.table.expire(at - 1) == []
    (left,) = wire.table.expire(at)
    assert isinstance(left, PeerLeft)
    assert not left.orderly
    assert len(wire.table) == 0


def test_leaving_is_immediate():
    wire = Wire()
    wire.connect()
    wire.peer.send(m.Leave("done"))

    assert wire.exchange()[0] == [PeerLeft(wire.peer.identity.session_id, "done", orderly=True)]


def test_a_slow_reader_is_congested_until_it_catches_up():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    big = m.DefineFunction(b"f", "f", bytes(CONGESTED_BYTES))

    assert wire.table.send(peer, big) == [Congested(peer)]
    assert Relieved(peer) in wire.exchange()[0]


def test_a_full_pipe_keeps_the_packet_for_the_next_round():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    wire.table.send(peer, m.Notice("a", ""))
    for route, packet in wire.table.outgoing():
        wire.table.unsend(route, packet)

    assert [event.message for event in wire.exchange()[1]] == [m.Notice("a", "")]


def damaged(wire, *numbers):
    """Say something that does not arrive, then more."""
    for number in numbers:
        wire.peer.send(m.AbandonBatches([number]))
        list(wire.peer.packets())
    wire.peer.send(m.AbandonBatches([99]))
    return wire.exchange()


def test_what_is_missing_within_a_connection_is_said_again():
    wire = Wire()
    wire.connect()

    at_server, _ = damaged(wire, 1, 2)

    received = [event.message.batch_ids for event in at_server if isinstance(event, Received)]
    assert received == [[1], [2], [99]]


def test_a_peer_whose_messages_stay_missing_is_let_go():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    gap = m.Packet(5, 0, [m.AbandonBatches([1])])
    assert wire.table.receive(wire.route, gap, 0.0) == [PeerDetached(peer)]
    wire.exchange()

    assert [type(event) for event in wire.table.receive(wire.route, gap, 0.0)] == [PeerLeft]


def test_registering_again_on_the_same_connection_repeats_what_is_missing_a_few_times():
    wire = Wire()
    wire.connect()
    wire.table.send(wire.peer.identity.session_id, m.Notice("c", "t"))
    list(wire.table.outgoing())  # handed to the socket
    said = []
    for _ in range(MAX_REPEATS + 2):
        wire.peer.on_connected()
        (register,) = wire.peer.packets()
        wire.table.receive(wire.route, register, 0.0)
        said.append([type(message) for _, packet in wire.table.outgoing() for message in packet.messages])

    assert said == [[m.Registered, m.Notice]] * MAX_REPEATS + [[m.Registered]] * 2


def test_a_second_session_on_one_connection_is_refused():
    wire, second = Wire(), Wire()
    wire.connect()
    second.peer.on_connected()
    (register,) = second.peer.packets()

    assert wire.table.receive(wire.route, register, 0.0) == []

    ((_, answer),) = wire.table.outgoing()
    assert isinstance(answer.messages[0], m.Refused)
    assert len(wire.table) == 1


def test_a_registration_that_finds_the_pipe_full_is_answered_later():
    wire = Wire()
    wire.peer.on_connected()
    wire.routes = 1
    (register,) = wire.peer.packets()
    wire.table.receive(wire.route, register, 0.0)
    for route, packet in wire.table.outgoing():
        wire.table.unsend(route, packet)

    assert [type(event) for event in wire.exchange()[1]] == [Up]


def test_many_heartbeats_in_one_packet_have_one_answer():
    wire = Wire()
    wire.connect()
    wire.table.receive(wire.route, m.Packet(0, 0, [m.Heartbeat()] * 1000), 0.0)

    assert len(list(wire.table.outgoing())) == 1


def unreadable(wire):
    """Let the packets of the scheduler's that wait arrive, the first of them spoilt."""
    first, *rest = [packet for route, packet in list(wire.table.outgoing()) if route == wire.route]
    assert first.first_sequence
    events = wire.peer.on_malformed()
    for packet in rest:
        events += wire.peer.on_packet(packet)
    return events


def test_a_packet_that_a_peer_cannot_read_is_said_again_with_all_after_it():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    wire.table.send(peer, m.Notice("a", ""))
    assert unreadable(wire) == []
    wire.table.send(peer, m.Notice("b", ""))

    at_server, at_peer = wire.exchange()

    assert at_server == [PeerAttached(peer)]
    assert [type(event) for event in at_peer] == [Up, Incoming, Incoming]
    assert not at_peer[0].fresh
    assert [event.message for event in at_peer[1:]] == [m.Notice("a", ""), m.Notice("b", "")]


def test_what_a_peer_misses_between_packets_is_said_again():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    wire.table.send(peer, m.Notice("a", ""))
    list(wire.table.outgoing())  # lost on the way
    wire.table.send(peer, m.Notice("b", ""))

    at_peer = wire.exchange()[1]

    assert [event.message for event in at_peer if isinstance(event, Incoming)] == [m.Notice("a", ""), m.Notice("b", "")]


def test_a_peer_that_can_never_read_what_it_is_told_gives_up():
    wire = Wire()
    wire.connect()
    wire.table.send(wire.peer.identity.session_id, m.Notice("a", ""))
    events = unreadable(wire)
    while not events:
        for packet in list(wire.peer.packets()):
            wire.table.receive(wire.route, packet, 0.0)
        control, *_ = [packet for _, packet in list(wire.table.outgoing())]
        assert [type(event) for event in wire.peer.on_packet(control)] == [Up]
        events = wire.peer.on_malformed()

    assert [type(event) for event in events] == [Rejected]
    assert list(wire.peer.packets()) == []


def test_somebody_that_is_vouched_for_may_be_silent_and_away():
    wire = Wire(sessions(silent=60, detached=5))
    wire.connect()
    peer = wire.peer.identity.session_id
    wire.table.vouch(peer, vouched=True, now=0.0)
    wire.table.unreachable(wire.route, 1.0)
    assert wire.table.expire(1000.0) == []

    wire.table.vouch(peer, vouched=False, now=1000.0)
    for second in range(1001, 1005):
        assert wire.table.expire(float(second)) == []
    assert [type(event) for event in wire.table.expire(1005.0)] == [PeerLeft]
    wire.table.vouch(peer, vouched=True, now=1005.0)  # it is gone: nothing happens


def test_a_session_that_is_ended_is_told_and_may_not_speak():
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id

    assert wire.table.end(peer, "its task is over") == [PeerLeft(peer, "its task is over")]
    assert wire.exchange()[1] == [Rejected("its task is over")]
    assert wire.table.end(peer, "again") == []
    assert len(wire.table) == 0


def test_a_client_inside_a_task_says_where_it_lives():
    wire = Wire()
    wire.peer.identity.parent_worker, wire.peer.identity.parent_incarnation = "W", 3
    ((joined,), _) = wire.connect()

    assert (joined.register.parent_worker, joined.register.parent_incarnation) == ("W", 3)


def test_more_peers_than_the_table_takes_are_refused_with_the_reason():
    patience = {"client": Patience(60, None)}
    table = Sessions(b"i" * 16, patience, max_unfinished_tasks=1, max_unfinished_bytes=1, max_peers=1)
    first, second = Wire(table), Wire(table)
    first.connect()

    at_server, at_peer = second.connect()

    assert at_server == []
    assert [event.reason for event in at_peer] == ["the scheduler has 1 peers already, it takes no more"]
    first.peer.send(m.Leave("done"))
    first.exchange()
    assert [type(event) for event in second.connect()[0]] == [PeerJoined]


def test_a_peer_that_takes_nothing_is_sent_away(monkeypatch):
    monkeypatch.setattr(sessions_module, "MAX_UNACKNOWLEDGED_MESSAGES", 3)
    monkeypatch.setattr(sessions_module, "CONGESTED_BYTES", 0)
    wire = Wire()
    wire.connect()
    peer = wire.peer.identity.session_id
    assert wire.table.send(peer, m.Notice("a", "")) == [Congested(peer)]
    for _ in range(2):
        assert wire.table.send(peer, m.Notice("a", "")) == []

    assert wire.table.send(peer, m.Notice("a", "")) == [PeerLeft(peer, "it does not take what it is sent")]
    assert [type(event) for event in wire.exchange()[1]] == [Rejected]


def test_so_many_messages_make_a_peer_congested_whatever_is_in_them():
    least = sessions_module.MAX_UNACKNOWLEDGED_MESSAGES * size_of(m.Heartbeat())
    assert least > CONGESTED_BYTES  # they are counted for congested ones only


def test_who_is_sent_away_while_another_is_sent_something_costs_the_others_nothing():
    table = sessions()
    wires = [Wire(table) for _ in range(3)]
    for wire in wires:
        wire.connect()
    for wire in wires:
        table.send(wire.peer.identity.session_id, m.Notice("c", "t"))

    outgoing = table.outgoing()
    routes = [next(outgoing)[0]]
    table.end(wires[1].peer.identity.session_id, "enough")
    routes += [route for route, _ in outgoing]

    assert routes == [wires[0].route, wires[2].route]


def test_answers_to_a_peer_that_asks_and_does_not_read_do_not_pile_up():
    wire = Wire()
    wire.connect()
    for _ in range(100):
        wire.peer.on_connected()
        (register,) = wire.peer.packets()
        wire.table.receive(wire.route, register, 0.0)
        for route, packet in wire.table.outgoing():
            wire.table.unsend(route, packet)

    assert len(list(wire.table.outgoing())) == 1


def test_time_in_which_the_server_stood_still_is_nobodys_silence():
    wire = Wire(sessions(silent=10))
    wire.connect()
    for second in range(1, 9):
        assert wire.table.expire(float(second)) == []

    assert wire.table.expire(60.0) == []
    assert wire.table.expire(61.0) == []
    assert [type(event) for event in wire.table.expire(62.0)] == [PeerLeft]
