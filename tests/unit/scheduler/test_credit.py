"""A client keeps to its credit, or goes."""

import pytest

from scaler_protocol import messages as m
from scaler_scheduler.core import credit
from tests.unit.scheduler.builders import Bench, function_id, submission


@pytest.fixture
def bench():
    return Bench(max_unfinished_tasks=10, max_unfinished_bytes=1000)


def reasons(bench):
    return [str(line).partition("is sent away: ")[2].rstrip("')") for line in bench.logs if "is sent away" in str(line)]


def test_a_client_that_keeps_to_its_credit_stays(bench):
    client = bench.client()
    client.submit(5)
    client.submit(5)

    assert bench.dismissed == []
    assert bench.state.unfinished_tasks == 10


def test_one_task_too_much_ends_the_session_with_one_line(bench):
    client = bench.client()
    client.submit(5)
    client.submit(6)

    assert bench.dismissed == [client.peer]
    assert reasons(bench) == ["it has more than 10 tasks unfinished"]


def test_what_is_finished_does_not_count(bench):
    client, worker = bench.client(), bench.worker()
    client.submit(9)
    worker.complete_all()
    client.submit(2)

    assert bench.dismissed == []


def test_a_first_batch_may_be_of_any_size(bench):
    client = bench.client()
    client.submit(50)

    assert bench.dismissed == []


def test_arguments_count_by_their_bytes(bench):
    client = bench.client()
    client.define("f")
    for batch_id in (1, 2):
        batch = submission(batch_id, 1)
        batch.payload = bytes(600)
        client.say(batch)

    assert reasons(bench) == ["it has more than 1000 bytes of arguments unfinished"]


def test_a_batch_said_again_is_not_counted_again(bench):
    client = bench.client()
    client.submit(9)
    client.say(submission(1, 9))

    assert bench.dismissed == []


def test_functions_are_bounded_in_number_and_bytes(bench, monkeypatch):
    monkeypatch.setattr(credit, "MAX_FUNCTIONS", 2)
    client = bench.client()
    client.define("f")
    client.define("g")
    client.define("g")
    client.forget("f")
    client.define("h")
    assert bench.dismissed == []
    assert set(bench.state.functions) == {function_id("g"), function_id("h")}

    client.define("i")
    monkeypatch.setattr(credit, "MAX_FUNCTION_BYTES", 100)
    other = bench.client("B")
    other.say(m.DefineFunction(function_id("x"), "x", bytes(101)))

    assert reasons(bench) == [
        "it has defined more than 2 functions",
        "its functions have more than 100 bytes",
    ]


def test_nothing_is_kept_of_a_client_that_was_sent_away(bench):
    client = bench.client()
    client.submit(5)
    client.submit(6)

    assert bench.state.functions == {}
    assert bench.state.unfinished_tasks == 0
