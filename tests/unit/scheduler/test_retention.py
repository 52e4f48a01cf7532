"""What is kept of clients that vanish, and for how long."""

from scaler_protocol.batch import Status
from tests.unit.scheduler.builders import Bench, function_id


def vanished(**settings):
    """Return a bench and its client, which has defined a function and vanished."""
    bench = Bench(**settings)
    client = bench.client()
    client.define()
    client.vanish()
    return bench, client


def test_a_vanished_clients_objects_and_functions_are_kept_for_a_while():
    bench, client = vanished(object_retention_seconds=30.0)

    bench.advance(29.9)
    assert bench.deleted_owners == []
    assert set(bench.state.functions) == {function_id("f")}
    bench.advance(0.2)

    assert bench.deleted_owners == [client.peer]
    assert bench.state.functions == {}
    assert bench.core.next_wakeup() is None


def test_a_client_that_is_back_in_time_keeps_its_objects():
    bench, client = vanished()
    bench.advance(59.0)
    bench._join(client, "client")

    bench.advance(100.0)

    assert bench.deleted_owners == []


def test_of_the_functions_only_those_stay_that_are_defined_again():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    for name in "fg":
        client.submit(1, name)
    worker.complete_all()
    client.vanish()
    bench._join(client, "client")
    client.define("f")
    assert len(bench.state.functions) == 2

    bench.advance(61.0)

    assert set(bench.state.functions) == {function_id("f")}
    assert worker.forgotten == [function_id("g")]


def test_a_worker_that_has_a_kept_function_is_not_sent_it_again():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    worker.complete_all()
    client.vanish()
    bench._join(client, "client")
    bench.effects.take()

    client.define()
    batch = client.submit(1)
    assert "DefineFunction" not in bench.effects.kinds()
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE]


def test_who_vanishes_again_is_kept_from_then_on():
    bench, client = vanished()
    bench.advance(50.0)
    bench._join(client, "client")
    client.vanish()

    bench.advance(59.0)
    assert bench.deleted_owners == []
    bench.advance(2.0)

    assert bench.deleted_owners == [client.peer]
    assert bench.state.functions == {}


def test_who_comes_back_and_takes_his_leave_frees_everything():
    bench, client = vanished()
    bench._join(client, "client")

    client.leave()

    assert bench.deleted_owners == [client.peer]
    assert bench.state.functions == {}
    bench.advance(100.0)
    assert bench.deleted_owners == [client.peer]


def test_each_client_has_its_own_time():
    bench = Bench()
    one, other = bench.client("A"), bench.client("B")
    one.vanish()
    bench.advance(10.0)
    other.vanish()

    bench.advance(51.0)
    assert bench.deleted_owners == [one.peer]
    bench.advance(10.0)

    assert bench.deleted_owners == [one.peer, other.peer]
