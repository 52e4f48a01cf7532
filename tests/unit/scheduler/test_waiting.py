"""Nothing waits in silence: one warning for each cause, in the log and in the clients it concerns."""

from scaler_scheduler.core.waiting import SCALING_FLAG
from tests.unit.scheduler.builders import Bench


def test_tasks_without_any_worker_make_one_warning_after_a_while():
    bench = Bench()
    client = bench.client()
    client.submit(1)
    bench.advance(4.9)
    assert not client.notices

    bench.advance(60.0)

    (notice,) = client.notices
    assert notice.cause == "no worker"
    assert "scaler_cluster tcp://127.0.0.1:1" in notice.text
    assert len(bench.warnings()) == 1


def test_every_client_is_told_once_and_the_log_once():
    bench = Bench()
    one, other, third = bench.client("A"), bench.client("B"), bench.client("C")
    one.submit(1)
    other.submit(1)
    bench.advance(10.0)
    one.submit(1)
    bench.advance(60.0)

    assert [len(client.notices) for client in (one, other, third)] == [1, 1, 0]
    assert len(bench.warnings()) == 1


def test_a_worker_in_time_makes_no_warning():
    bench = Bench()
    client = bench.client()
    client.submit(1)
    bench.advance(4.0)
    worker = bench.worker()
    bench.advance(10.0)
    worker.complete()
    worker.end(hello=False)
    client.submit(1)
    bench.advance(4.0)

    assert not client.notices


def test_scaling_that_is_off_is_said_at_once_and_names_the_flag():
    bench = Bench("allocate=even_load; scaling=no")
    client = bench.client()
    bench.adapter("nat")
    client.submit(1)
    client.submit(1)
    bench.advance(60.0)

    (notice,) = client.notices
    assert notice.cause == "scaling off"
    assert SCALING_FLAG in notice.text
    assert "nat" in notice.text
    assert [text for text in bench.warnings() if SCALING_FLAG in text] == [notice.text]


def test_scaling_that_is_off_does_not_matter_while_there_are_workers():
    bench = Bench("allocate=even_load; scaling=no")
    client = bench.client()
    bench.adapter("nat")
    bench.worker()
    client.submit(100)
    bench.advance(60.0)

    assert not client.notices


def test_an_adapter_of_fixed_size_does_not_count_as_help():
    bench = Bench("allocate=even_load; scaling=vanilla")
    client = bench.client()
    bench.adapter("fix", max_groups=0)
    client.submit(1)
    bench.advance(10.0)

    assert [notice.cause for notice in client.notices] == ["no worker"]


def test_nothing_is_said_while_help_is_on_its_way():
    bench = Bench("allocate=even_load; scaling=vanilla")
    client = bench.client()
    bench.adapter("nat")
    client.submit(1)
    bench.advance(60.0)

    assert not client.notices


def test_a_capability_that_nobody_offers_is_named_with_what_to_do():
    bench = Bench("allocate=capability; scaling=capability")
    client = bench.client()
    bench.worker()
    bench.adapter("nat", capabilities={"gpu": 1})
    client.submit(1, capabilities={"gpu": 2, "tpu": -1})
    client.submit(1, capabilities={"gpu": 2, "tpu": -1})
    bench.advance(60.0)

    (notice,) = client.notices
    assert notice.cause == "capabilities gpu=2,tpu"
    assert "--per-worker-capabilities gpu=2,tpu" in notice.text


def test_a_capability_that_an_adapter_can_provide_is_no_reason_to_warn():
    bench = Bench("allocate=capability; scaling=capability")
    client = bench.client()
    bench.adapter("nat", capabilities={"gpu": 4})
    client.submit(1, capabilities={"gpu": 2})
    bench.advance(60.0)

    assert not client.notices
