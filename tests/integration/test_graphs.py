"""Graphs on real workers: what is run, what fails with what, ten thousand calls, and what is kept."""

import concurrent.futures
import functools
import graphlib
import os
import random
import signal
import threading
import time

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.object_reference import ObjectReference
from scaler.client.serializer.default import DefaultSerializer
from scaler.config.section.scheduler import PolicyConfig
from scaler.utility.graph.optimization import cull_graph
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import is_alive, wait_until
from tests.integration.graph_tasks import (
    Custom,
    Unpickled,
    add,
    both,
    give,
    hold,
    inc,
    large,
    let_go,
    measure,
    nested_graph,
    note,
    pid,
    refuse,
    unpickled,
    wait_for,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:capabilities of tasks are ignored"),
]

EXECUTION_SECONDS = 30  # of what takes well below five on a machine that does nothing else


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


def test_a_graph_of_calls_and_data(any_client):
    graph = {
        "a": 1,
        "data": ("a", "is no call"),
        "list": [1, 2],
        "b": (inc, "a"),
        "c": (add, "a", "b", "b"),
        "none": (give,),
        "kind": (int,),
        "len": (len, "list"),
        "first": (max, "data"),
    }
    keys = ["c", "none", "data", "len", "a", "kind", "first"]
    values = any_client.get(graph, keys)
    assert values == {
        "c": 5,
        "none": 7,
        "data": ("a", "is no call"),
        "len": 2,
        "a": 1,
        "kind": 0,
        "first": "is no call",
    }
    assert list(values) == keys
    assert any_client.get(graph, []) == {}


def test_any_callable_is_a_call(client):
    local = 5
    graph = {
        "x": 2,
        "lambda": (lambda value: value + local, "x"),
        "partial": (functools.partial(add, 10), "x"),
        "method": ("text".replace, "e", "o"),
        "e": "e",
        "o": "o",
        "class": (str, "x"),
    }
    assert client.get(graph, ["lambda", "partial", "method", "class"]) == {
        "lambda": 7,
        "partial": 12,
        "method": "toxt",
        "class": "2",
    }


def test_only_what_is_needed_is_run(client, tmp_path):
    graph = {"folder": str(tmp_path), "a": "a", "b": "b", "run": (note, "folder", "a"), "not": (note, "folder", "b")}
    graph["broken"] = (note, "folder", "missing")
    assert cull_graph(graph, ["run"]) == {"folder": str(tmp_path), "a": "a", "run": (note, "folder", "a")}
    assert client.get(graph, ["run"]) == {"run": "a"}
    assert client.get(graph, ["a"]) == {"a": "a"}
    assert [path.name[0] for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("graph", "keys", "error"),
    [
        ({"a": 1}, ["b"], KeyError),
        ({"a": (inc, "b")}, ["a"], KeyError),
        ({"a": 1}, ["a", "a"], KeyError),
        ({"a": (inc, 1)}, ["a"], TypeError),
        ({"a": (inc, "b"), "b": (inc, "a")}, ["a"], graphlib.CycleError),
        ({"a": (inc, "a")}, ["a"], graphlib.CycleError),
        ({"x": 1, "a": (inc, "x", "x")}, ["a"], TypeError),
        ({"x": 1, "a": (inc, "x")}, ["a"], None),
    ],
)
@pytest.mark.parametrize("block", [True, False])
def test_what_is_wrong_with_a_graph(client, graph, keys, error, block):
    if error is not None:
        with pytest.raises(error):
            client.get(graph, keys, block=block)
    assert client.get({"x": 1, "a": (inc, "x")}, ["a"]) == {"a": 2}


def test_without_waiting_there_are_futures(client, tmp_path):
    graph = {"folder": str(tmp_path), "held": (hold, "folder"), "a": (inc, "held"), "x": 5, "list": [1]}
    futures = client.get(graph, ["list", "a", "x", "held"], block=False)

    assert list(futures) == ["list", "a", "x", "held"]
    assert futures["x"].done()
    assert futures["x"].result() == 5
    assert futures["list"].result() == [1]
    profile = futures["x"].profiling_info()
    assert (profile.duration_s, profile.memory_peak, profile.cpu_time_s) == (0.0, 0, 0.0)
    assert not futures["a"].done()
    assert len({future.task_id for future in futures.values()}) == 4
    more = client.submit(add, futures["a"], futures["x"])
    let_go(tmp_path)
    assert futures["a"].result() == futures["held"].result() + 1
    assert more.result() == futures["a"].result() + 5
    assert futures["a"].profiling_info().duration_s > 0
    assert list(concurrent.futures.as_completed(futures.values()))


@pytest.mark.parametrize("block", [True, False])
def test_one_failure_is_that_of_the_whole_graph(any_client, tmp_path, block):
    graph = {"folder": str(tmp_path), "fine": (give,), "bad": (refuse, "fine"), "held": (hold, "folder", "fine")}
    graph |= {"after": (inc, "bad"), "other": (inc, "held")}
    if block:
        with pytest.raises(ValueError, match="refused on purpose"):
            any_client.get(graph, ["other", "after", "fine"])
    else:
        futures = any_client.get(graph, ["fine", "bad", "held", "after", "other"], block=False)
        for key in ("bad", "held", "after", "other"):
            with pytest.raises(ValueError, match="refused on purpose"):
                futures[key].result()
        assert futures["fine"].result() == 7
    let_go(tmp_path)
    assert any_client.submit(inc, 1).result() == 2


def test_what_waits_for_a_graph_fails_with_it(client, tmp_path):
    graph = {"folder": str(tmp_path), "held": (hold, "folder"), "start": (give,), "bad": (refuse, "start")}
    futures = client.get(graph, ["held", "bad"], block=False)
    outside = client.submit(inc, futures["held"])
    with pytest.raises(ValueError, match="refused on purpose"):
        outside.result()
    let_go(tmp_path)


def test_cancelling_one_future_cancels_the_graph(client, tmp_path):
    graph = {"folder": str(tmp_path), "held": (hold, "folder"), "a": (inc, "held"), "b": (inc, "a"), "free": (give,)}
    futures = client.get(graph, ["b", "a", "held", "free"], block=False)
    wait_for(tmp_path, "held")
    assert futures["free"].result() == 7
    assert futures["b"].cancel()
    concurrent.futures.wait(futures.values())
    assert [futures[key].cancelled() for key in ("b", "a", "held", "free")] == [True, True, True, False]
    assert client.submit(inc, 1).result() == 2


def test_capabilities_hold_for_every_call(combo, client, tmp_path):
    graph = {"x": 1, "a": (inc, "x"), "b": (inc, "a")}
    assert client.get(graph, ["b"], capabilities={"gpu": 1}) == {"b": 3}
    with pytest.raises(ValueError, match="gpu"):
        client.get(graph, ["b"], capabilities={"gpu": "two"})
    with (
        SchedulerClusterCombo(
            1,
            per_worker_capabilities={"gpu": 1},
            scaler_policy=PolicyConfig(policy_content="allocate=capability; scaling=no"),
            logging_level="WARNING",
        ) as other,
        Client(other.get_address()) as strict,
    ):
        assert strict.get(graph, ["b"], capabilities={"gpu": 1}) == {"b": 3}
        futures = strict.get(graph, ["a", "b"], block=False, capabilities={"tpu": -1})
        assert strict.submit(inc, 1).result() == 2
        assert not futures["a"].done()
        assert futures["b"].cancel()
        concurrent.futures.wait(futures.values())
        assert futures["a"].cancelled()


def test_references_are_arguments_of_graphs(any_client):
    reference = any_client.send_object({"k": 1}, name="named")
    values = any_client.get({"r": reference, "a": (len, "r"), "b": (both, "r", "a")}, ["r", "a", "b"])
    assert isinstance(values["r"], ObjectReference)
    assert values["a"] == 1
    assert values["b"][:2] == ({"k": 1}, 1)


def test_large_data_is_stored_once_and_large_results_are_passed_on(any_client):
    graph = {"data": bytes(4 * STORED_BYTES), "l0": (large, "one"), "one": 1}
    graph |= {f"n{number}": (measure, "data", "l0") for number in range(50)}
    values = any_client.get(graph, [f"n{number}" for number in range(50)])
    assert {tuple(map(tuple, value)) for value in values.values()} == {
        ((4 * STORED_BYTES, b"\0"), (2 * STORED_BYTES, b"\1"))
    }


def test_what_is_not_wanted_is_not_restored_here(client):
    graph = {"a": (unpickled,), **{f"n{number}": (unpickled, "a") for number in range(20)}}
    graph["last"] = (pid, *(f"n{number}" for number in range(20)))
    Unpickled.count = 0
    client.get(graph, ["last"])
    assert Unpickled.count == 0
    client.get(graph, ["last", "n3", "a"])
    assert Unpickled.count == 2


def test_a_graph_inside_a_task(client):
    assert client.submit(nested_graph, client, 20).result() == 20
    graph = {"client": client, "n": 30, "a": (nested_graph, "client", "n"), "b": (inc, "a")}
    assert client.get(graph, ["b"]) == {"b": 31}


def test_a_graph_inside_a_task_has_a_place_on_one_worker():
    with SchedulerClusterCombo(1, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        assert client.submit(nested_graph, None, 20).result() == 20
        graph = {"none": None, "n": 10, "a": (nested_graph, "none", "n"), "b": (nested_graph, "none", "a")}
        assert client.get(graph, ["b"]) == {"b": 10}


def test_a_client_stays_usable_after_a_keyboard_interrupt(client, tmp_path):
    graph = {"folder": str(tmp_path), "held": (hold, "folder"), "a": (inc, "held")}

    def interrupt():
        wait_for(tmp_path, "held")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        client.get(graph, ["a"])
    thread.join()
    let_go(tmp_path)
    assert client.submit(inc, 1).result() == 2


# ---- ten thousand


COUNT = 10_000


def timed(client, graph, keys):
    begun = time.monotonic()
    values = client.get(graph, keys)
    assert time.monotonic() - begun < EXECUTION_SECONDS
    return values


def test_a_random_graph_of_ten_thousand(client):
    rng = random.Random(7)
    graph = {"n0": 1}
    expected = {"n0": 1}
    for number in range(1, COUNT):
        names = [f"n{rng.randrange(max(0, number - 300), number)}" for _ in range(rng.randrange(1, 4))]
        graph[f"n{number}"] = (add_small, *names)
        expected[f"n{number}"] = add_small(*(expected[name] for name in names))
    shuffled = dict(rng.sample(list(graph.items()), len(graph)))
    assert timed(client, shuffled, list(graph)) == expected


def add_small(*values):
    return sum(values) % 1_000_003


def test_a_chain_of_ten_thousand(client):
    graph = {"n0": 0, **{f"n{number}": (inc, f"n{number - 1}") for number in range(1, COUNT)}}
    assert client.get(graph, [f"n{COUNT - 1}"]) == {f"n{COUNT - 1}": COUNT - 1}


def test_ten_thousand_that_need_one_and_one_that_needs_ten_thousand(client):
    graph = {"seed": 3, "one": (inc, "seed"), **{f"n{number}": (inc, "one") for number in range(COUNT)}}
    graph["all"] = (add, *(f"n{number}" for number in range(COUNT)))
    values = timed(client, graph, ["all", "n7", "one"])
    assert values == {"all": 5 * COUNT, "n7": 5, "one": 4}


def test_one_that_needs_more_than_fits_into_a_message(client):
    """The results are small enough to travel inline, each by itself."""
    graph = {"size": 60_000, **{f"n{number}": (bytes, "size") for number in range(1200)}}
    graph["all"] = (measure, *(f"n{number}" for number in range(1200)))
    values = client.get(graph, ["all"])["all"]
    assert {tuple(value) for value in values} == {(60_000, b"\0")}
    assert len(values) == 1200


def test_ten_thousand_of_two_functions_in_levels(client):
    width = 100
    graph = {f"l0.{place}": place for place in range(width)}
    for level in range(1, COUNT // width):
        function = inc if level % 2 else add
        graph |= {f"l{level}.{place}": (function, f"l{level - 1}.{(place + 1) % width}") for place in range(width)}
    last = COUNT // width - 1
    values = timed(client, graph, [f"l{last}.{place}" for place in range(width)])
    assert sorted(values.values()) == [place + (last + 1) // 2 for place in range(width)]


def test_a_graph_of_ten_thousand_fails_at_once(client):
    graph = {"n0": (refuse,), **{f"n{number}": (inc, f"n{number - 1}") for number in range(1, COUNT)}}
    futures = client.get(graph, list(graph), block=False)
    assert all(isinstance(future.exception(), ValueError) for future in futures.values())


def test_nothing_is_kept_of_graphs(combo):
    """Neither here nor in the object storage."""
    with Client(combo.get_address()) as client:
        before = client._agent.objects
        kept = []
        keep, release = before.keep, before.release
        before.keep = lambda key, size: kept.append(key) or keep(key, size)
        released = []
        before.release = lambda key: released.append(key) or release(key)
        for _ in range(3):
            graph = {"seed": 1, **{f"l{number}": (large, "seed") for number in range(20)}}
            graph["sizes"] = (measure, *(f"l{number}" for number in range(20)))
            assert len(client.get(graph, ["sizes"])["sizes"]) == 20
        wait_until(lambda: sorted(released) == sorted(kept))
        assert len(kept) == 60
        assert client._agent._core.is_idle
