"""Who may say what, and what an error leaves behind."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, column
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench, register, results, submission

MESSAGES = {
    "client": [
        m.DefineFunction(b"f" * 16, "f", b""),
        m.ForgetFunctions([]),
        submission(1, 1),
        m.CancelTasks(1, b"", b""),
        m.AbandonBatches([]),
        m.RequestShutdown(),
    ],
    "worker": [
        m.WorkerHello("W", 1, b"H", "", 1, 1, {}),
        results(1, b"A", 1, 0, 1),
        m.SlicesReturned(column(U64, []), column(U32, [])),
    ],
    "host": [m.HostReport([]), m.ProcessEnded("W", 1, "exit", 1, 0, 0, False, "")],
    "adapter": [m.AdapterReport("N", 0, 1, 1, {}, [], [])],
}


@pytest.mark.parametrize("role", [*MESSAGES, "stranger"])
def test_a_peer_says_only_what_its_role_may_say(role):
    for owner, messages in MESSAGES.items():
        for message in messages:
            bench = Bench()
            bench.handle(c.PeerJoined(b"P", register(role, b"P")))
            if owner == role:
                bench.say(b"P", message)
            else:
                with pytest.raises(ProtocolError, match=type(message).__name__):
                    bench.say(b"P", message)
                bench.state.check()


@pytest.mark.parametrize(
    "message", [m.Heartbeat(), m.Shutdown(""), m.AdapterCommand(1, [], []), m.Registered(b"", 0, True)]
)
def test_what_only_a_scheduler_says_is_refused(message):
    for role in MESSAGES:
        bench = Bench()
        bench.handle(c.PeerJoined(b"P", register(role, b"P")))
        with pytest.raises(ProtocolError):
            bench.say(b"P", message)


def test_a_peer_that_has_left_or_never_came_is_nobody():
    bench = Bench()
    with pytest.raises(ProtocolError):
        bench.say(b"P", m.HostReport([]))
    host = bench.host()
    host.leave()
    with pytest.raises(ProtocolError):
        bench.say(b"H", m.HostReport([]))
    bench.handle(c.PeerLeft(b"H", "again"))


def test_a_connection_that_breaks_changes_nothing():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(2)
    bench.effects.take()

    for peer in (b"A", b"W", b"H"):
        bench.handle(c.PeerDetached(peer))
        bench.handle(c.PeerAttached(peer))

    bench.effects.assert_empty()
    assert worker.held == 2


def test_congestion_of_somebody_who_is_no_client_changes_nothing():
    bench = Bench()
    bench.worker()
    bench.handle(c.Congested(b"W"))
    bench.handle(c.Relieved(b"nobody"))


def test_what_was_decided_before_an_error_is_still_sent(monkeypatch):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.define()
    bench.effects.take()
    bench.settles = False
    bench.say(b"A", submission(1, 2))

    def fail(now):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(bench.core._dispatch.holdings, "balance", fail)
        with pytest.raises(RuntimeError):
            bench.settle()
    assert worker.held == 0
    bench.settle()

    assert worker.held == 2


def test_all_that_waits_for_time_is_asked_for():
    bench = Bench("allocate=even_load; scaling=vanilla(cooldown=3)")
    assert bench.core.next_wakeup() is None
    client = bench.client()
    client.submit(1)
    assert bench.core.next_wakeup() == bench.now + 5.0  # the warning that no worker is there
    worker = bench.worker()
    bench.worker("W2")
    assert bench.core.next_wakeup() is None
    client.submit(2)
    worker.host.report(W="stopped")
    assert bench.core.next_wakeup() == bench.now + 60.0  # patience with the stopped worker


def test_a_scheduler_numbers_its_slices_from_where_it_is_told():
    bench = Bench(first_slice_id=1 << 40)
    client, worker = bench.client(), bench.worker()
    client.submit(2)

    assert list(worker.slices) == [(1 << 40) + 1, (1 << 40) + 2]
