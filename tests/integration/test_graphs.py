"""Futures as arguments and graphs, on real workers: who waits for whom, what fails with what, and what gets lost."""

import concurrent.futures
import functools
import gc
import graphlib
import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.object_reference import ObjectReference
from scaler.client.serializer.default import DefaultSerializer
from scaler.config.section.scheduler import PolicyConfig
from scaler.utility.exceptions import (
    ClientQuitException,
    MissingObjects,
    ProcessorDiedError,
    SchedulerFullError,
)
from scaler.utility.graph.optimization import cull_graph
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import Command, free_address, is_alive, running, scheduler, wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:capabilities of tasks are ignored"),
]

EXECUTION_SECONDS = 30  # of what takes well below five on a machine that does nothing else


# ---- tasks


def inc(value):
    return value + 1


def add(*values):
    return sum(values)


def give(value=7):
    return value


def both(first, /, second, *, third=0, **others):
    return first, second, third, sorted(others.items())


def refuse(*_):
    raise ValueError("refused on purpose")


def leave(*_):
    os._exit(3)


def pid(*_):
    return os.getpid()


def large(seed):
    return bytes([seed % 251]) * (2 * STORED_BYTES)


def measure(*values):
    return [(len(value), value[:1]) for value in values]


def note(folder, name, *_):
    """Say that a task has run."""
    (Path(folder) / f"{name}.{uuid.uuid4().hex}").touch()
    return name


def hold(folder, *_):
    """Run until the test lets go."""
    (Path(folder) / f"held.{os.getpid()}").touch()
    wait_until((Path(folder) / "let go").exists)
    return os.getpid()


def wait_for(folder, name):
    return wait_until(lambda: list(Path(folder).glob(f"{name}.*")), lambda: f"{name} has not run")


def let_go(folder):
    (Path(folder) / "let go").touch()


def nested_graph(client, count):
    """Without a client, make one in the task."""
    if client is None:
        with Client() as own:
            return nested_graph(own, count)
    graph = {"n0": 1, **{f"n{number}": (inc, f"n{number - 1}") for number in range(1, count)}}
    return client.get(graph, [f"n{count - 1}"])[f"n{count - 1}"]


class Custom(DefaultSerializer):
    """Not the default one, though it does the same."""


class Unpickled:
    """Counts how often one is restored in this process."""

    count = 0

    def __setstate__(self, state):
        type(self).count += 1


def unpickled(*_):
    made = Unpickled()
    made.state = 1
    return made


# ---- fixtures


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


# ---- futures as arguments


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


# ---- graphs


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


# ---- losses


def steps(folder, width, depth):
    """Columns of tasks that each add one, and say that they have run."""
    graph = {"folder": str(folder), "zero": 0}
    for place in range(width):
        graph[f"s0.{place}"] = (step, "folder", "zero")
        graph |= {f"s{level}.{place}": (step, "folder", f"s{level - 1}.{place}") for level in range(1, depth)}
    graph["all"] = (add, *(f"s{depth - 1}.{place}" for place in range(width)))
    return graph


def step(folder, value):
    time.sleep(0.005)  # so that the test can come in between
    (Path(folder) / f"step.{os.getpid()}").touch()
    return value + 1


@pytest.mark.parametrize("width", [1, 4])
def test_kill_9_of_workers_in_the_middle_of_a_graph(tmp_path, width):
    with SchedulerClusterCombo(3, logging_level="ERROR") as combo, Client(combo.get_address()) as client:
        graph = steps(tmp_path, width, 240 // width) | {"l": (large, "zero")}
        futures = client.get(graph, ["all", "l"], block=False)
        sizes = client.submit(measure, futures["l"], futures["l"])
        for _ in range(2):
            wait_for(tmp_path, "step")
            killed = next(tmp_path.glob("step.*"))
            os.kill(int(killed.suffix[1:]), signal.SIGKILL)
            wait_until(lambda killed=killed: not psutil.pid_exists(int(killed.suffix[1:])))
            killed.unlink()
        assert futures["all"].result() == 240
        assert [tuple(item) for item in sizes.result()] == [(2 * STORED_BYTES, b"\0")] * 2


@pytest.mark.parametrize("width", [1, 4])
def test_kill_9_of_the_scheduler_in_the_middle_of_a_graph(tmp_path, width):
    address = free_address()
    first = Command("scaler_scheduler", address)
    with running("scaler_cluster", address, "-n", 2), Client(address, timeout_seconds=60) as client:
        depth = 240 // width
        graph = steps(tmp_path, width, depth) | {"seed": 5, **{f"l{number}": (large, "seed") for number in range(3)}}
        graph["sizes"] = (measure, "l0", "l1", "l2")
        last = f"s{depth - 1}.0"
        futures = client.get(graph, ["all", "sizes", last], block=False)
        outside = client.submit(add, futures["all"], futures[last])
        wait_for(tmp_path, "step")
        first.kill()
        with running("scaler_scheduler", address):
            assert futures["all"].result() == 240
            assert futures[last].result() == depth
            assert outside.result() == 240 + depth
            assert [tuple(item) for item in futures["sizes"].result()] == [(2 * STORED_BYTES, b"\5")] * 3
            assert client.get({"x": 1, "a": (inc, "x")}, ["a"]) == {"a": 2}


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


def test_a_scheduler_without_workers_lets_graphs_wait():
    with scheduler() as (_, address), Client(address) as client:
        futures = client.get({"x": 1, "a": (inc, "x"), "b": (inc, "a")}, ["a", "b"], block=False)
        assert futures["a"].cancel()
        concurrent.futures.wait([futures["b"]])
        assert futures["b"].cancelled()
