"""Futures as arguments, on real workers: who waits for whom, and what fails with what."""

import concurrent.futures
import gc

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.serializer.default import DefaultSerializer
from scaler.utility.exceptions import (
    ClientQuitException,
    MissingObjects,
    ProcessorDiedError,
    SchedulerFullError,
)
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import is_alive, wait_until
from tests.integration.graph_tasks import (
    Custom,
    add,
    both,
    give,
    hold,
    inc,
    large,
    leave,
    let_go,
    measure,
    note,
    refuse,
    wait_for,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:capabilities of tasks are ignored"),
]


@pytest.fixture(scope="module")
def combo():
    before = set(psutil.Process().children(recursive=True))
    with SchedulerClusterCombo(2, logging_level="WARNING", per_worker_capabilities={"gpu": 1}) as combo:
        yield combo
        started = set(psutil.Process().children(recursive=True)) - before
    wait_until(lambda: not any(map(is_alive, started)), lambda: f"left over: {started}")


@pytest.fixture
def client(combo):
    with Client(combo.get_address()) as client:
        yield client


@pytest.fixture(params=["default", "custom"])
def any_client(request, combo):
    serializer = DefaultSerializer() if request.param == "default" else Custom()
    with Client(combo.get_address(), serializer=serializer) as client:
        yield client


def test_a_future_stands_for_its_result_wherever_it_is_an_argument(any_client):
    one, two = any_client.submit(inc, 0), any_client.submit(inc, 1)
    assert any_client.submit(add, one, two, one, 10).result() == 14
    assert any_client.submit(both, one, second=two, third=one, other=two).result() == (1, 2, 1, [("other", 2)])
    assert any_client.submit_verbose(add, (one, two), capabilities={"gpu": 1}).result() == 3


def test_the_client_does_not_wait(client, tmp_path):
    held = client.submit(hold, str(tmp_path))
    waiting = client.submit(inc, held)
    following = client.submit(inc, waiting)
    assert not following.done()
    let_go(tmp_path)
    assert following.result() == held.result() + 2


def test_a_result_that_is_there_goes_along(any_client):
    done = any_client.submit(give, [1, 2])
    assert done.result() == [1, 2]
    assert any_client.submit(both, done, done).result()[:2] == ([1, 2], [1, 2])


def test_large_results_pass_through_the_object_storage(any_client):
    futures = [any_client.submit(large, number) for number in range(4)]
    expected = [(2 * STORED_BYTES, bytes([number])) for number in range(4)]
    waiting = any_client.submit(measure, *futures)
    assert [tuple(item) for item in waiting.result()] == expected
    assert [tuple(item) for item in any_client.submit(measure, *futures).result()] == expected  # not fetched here
    assert len(futures[1].result()) == 2 * STORED_BYTES
    assert [tuple(item) for item in any_client.submit(measure, *futures).result()] == expected  # and fetched


def test_a_large_result_is_there_for_who_waits_though_its_future_is_gone(client, tmp_path):
    held = client.submit(hold, str(tmp_path))
    waiting = client.submit(lambda value, _: len(value), client.submit(large, 1), held)
    done = client.submit(large, 1)
    wait_for(tmp_path, "held")
    concurrent.futures.wait([done])
    gc.collect()
    let_go(tmp_path)
    assert waiting.result() == 2 * STORED_BYTES


def test_a_large_result_that_is_fetched_stays_for_who_waits(client, tmp_path):
    made, held = client.submit(large, 1), client.submit(hold, str(tmp_path))
    waiting = client.submit(lambda value, _: len(value), made, held)
    assert len(made.result()) == 2 * STORED_BYTES
    del made
    gc.collect()
    let_go(tmp_path)
    assert waiting.result() == 2 * STORED_BYTES


def test_each_task_has_a_value_of_its_own(client):
    source = client.submit(give, [0])

    def change(value):
        value.append(1)
        return value

    assert [client.submit(change, source).result() for _ in range(2)] == [[0, 1], [0, 1]]
    futures = [client.submit(change, source) for _ in range(20)]
    assert [future.result() for future in futures] == [[0, 1]] * 20


def test_a_failure_is_that_of_whoever_waits(any_client, tmp_path):
    failing = any_client.submit(refuse, any_client.submit(inc, 1))
    first = any_client.submit(note, str(tmp_path), "first", failing)
    second = any_client.submit(inc, first)
    for future in (failing, first, second):
        with pytest.raises(ValueError, match="refused on purpose") as caught:
            future.result()
        assert "in refuse" in str(caught.value.__cause__)
    late = any_client.submit(inc, failing)
    with pytest.raises(ValueError, match="refused on purpose"):
        late.result()
    assert not list(tmp_path.iterdir())
    assert any_client.submit(inc, 1).result() == 2


def test_the_end_of_a_process_is_that_of_whoever_waits(client):
    waiting = client.submit(inc, client.submit(leave))
    with pytest.raises(ProcessorDiedError) as caught:
        waiting.result()
    assert caught.value.exit_code == 3


def test_cancelling_is_that_of_whoever_waits(client, tmp_path):
    held = client.submit(hold, str(tmp_path))
    first = client.submit(inc, held)
    second = client.submit(inc, first)
    wait_for(tmp_path, "held")
    assert first.cancel()
    assert concurrent.futures.wait([second]).done
    assert second.cancelled()
    assert not held.done()

    third = client.submit(inc, held)
    assert held.cancel()
    assert held.cancelled()
    concurrent.futures.wait([third])
    assert third.cancelled()
    late = client.submit(inc, held)
    concurrent.futures.wait([late])
    assert late.cancelled()


def test_a_future_in_a_container_is_a_type_error(client):
    future = client.submit(inc, 1)
    for container in ([future], {"k": future}, (future,)):
        with pytest.raises(TypeError, match="ScalerFuture"):
            client.submit(give, container)
    assert client.submit(inc, future).result() == 3


def test_a_future_of_another_client_or_from_before_a_clear_is_missing(combo, client):
    with Client(combo.get_address()) as other:
        theirs = other.submit(inc, 1)
        done = other.submit(inc, 1)
        done.result()
        for future in (theirs, done):
            with pytest.raises(MissingObjects):
                client.submit(inc, future)
            with pytest.raises(MissingObjects):
                client.get({"f": future, "a": (inc, "f")}, ["a"])
    mine = client.submit(inc, 1)
    assert mine.result() == 2
    client.clear()
    with pytest.raises(MissingObjects):
        client.submit(inc, mine)
    assert client.submit(inc, client.submit(inc, 1)).result() == 3


def test_futures_are_arguments_of_map_too(client):
    futures = [client.submit(inc, number) for number in range(10)]
    assert client.map(inc, futures) == list(range(2, 12))
    assert client.starmap(add, [(future, 1) for future in futures]) == list(range(2, 12))


def test_thousands_of_calls_in_a_row_that_wait_for_each_other(client):
    futures = [client.submit(inc, 0)]
    for _ in range(2000):
        futures.append(client.submit(inc, futures[-1]))
    assert futures[-1].result() == 2001
    middle = [client.submit(add, *futures[number : number + 5]) for number in range(1000)]
    assert [future.result() for future in middle] == [5 * number + 15 for number in range(1000)]


def test_a_task_may_wait_for_ten_thousand(client):
    futures = [client.submit(inc, number) for number in range(10_000)]
    assert client.submit(add, *futures).result() == sum(range(1, 10_001))


def test_several_threads_wait_for_the_same(client):
    source = client.submit(inc, 0)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: client.submit(add, source, number), range(400)))
    assert [future.result() for future in made] == list(range(1, 401))


def test_what_is_waited_for_by_a_stopped_client_ends(combo, tmp_path):
    with Client(combo.get_address()) as client:
        held = client.submit(hold, str(tmp_path))
        waiting = client.submit(inc, held)
    assert held.cancelled()
    assert waiting.cancelled()
    with pytest.raises(ClientQuitException):
        client.submit(inc, waiting)
    with pytest.raises(ClientQuitException):
        client.get({"a": 1}, ["a"])


def test_waiting_tasks_do_not_count_for_the_waiting_limit(tmp_path):
    options = {"max_number_of_tasks_waiting": 1, "per_worker_task_queue_size": 1, "logging_level": "WARNING"}
    with SchedulerClusterCombo(1, **options) as combo, Client(combo.get_address()) as client:
        held = client.submit(hold, str(tmp_path))
        wait_for(tmp_path, "held")
        waiting = [client.submit(inc, held) for _ in range(50)]
        graph = {"n0": (give,), **{f"n{number}": (inc, f"n{number - 1}") for number in range(1, 50)}}
        accepted = client.get(graph, ["n49"], block=False)["n49"]
        with pytest.raises(SchedulerFullError):
            client.get({**graph, "m0": (give,), "m": (add, "m0", "n0")}, ["m"])
        with pytest.raises(SchedulerFullError):
            client.submit(inc, 1).result()
        let_go(tmp_path)
        assert accepted.result() == 7 + 49
        assert {future.result() for future in waiting} == {held.result() + 1}
