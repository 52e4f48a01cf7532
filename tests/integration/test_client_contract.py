"""What a user of a client may rely on: calls as local ones, every method, its end. Real workers."""

import concurrent.futures
import enum
import gc
import operator
import os
import pickle
import re
import sys
import time
import warnings
from functools import partial

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.serializer.default import DefaultSerializer
from scaler.config.section.scheduler import PolicyConfig
from scaler.utility.exceptions import ClientQuitException
from scaler.worker.agent.processor.processor import Processor
from scaler_client.context import home
from scaler_protocol.batch import MAX_INLINE_BYTES
from tests.integration.commands import wait_until
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def combo():
    policy = PolicyConfig(policy_content="allocate=capability; scaling=no")
    options = {"per_worker_capabilities": {"gpu": 2, "linux": -1}, "scaler_policy": policy, "logging_level": "WARNING"}
    with nothing_left() as note, SchedulerClusterCombo(n_workers=2, **options) as combo:
        yield combo
        note()


@pytest.fixture
def client(combo):
    with Client(combo.get_address()) as client:
        yield client


def report(first, second=2, /, third=3, *rest, fourth, fifth=5, **more):
    return first, second, third, rest, fourth, fifth, more


class Scale:
    """An object whose methods are called."""

    def __init__(self, factor):
        self.factor = factor

    def times(self, number):
        return self.factor * number

    @classmethod
    def named(cls, number):
        return cls.__name__, number

    @staticmethod
    def half(number):
        return number / 2

    def __call__(self, number):
        return self.times(number)

    def __eq__(self, other):
        return isinstance(other, Scale) and self.factor == other.factor

    __hash__ = None


class AnswersEverything:
    """Has any attribute, so that its name is no text."""

    def __getattr__(self, name):
        if name.startswith("__") and name not in {"__name__", "__qualname__"}:
            raise AttributeError(name)
        return 5

    def __call__(self, number):
        return number + 1


class Quantity(enum.IntEnum):
    ONE = 1


def where(_=None):
    return os.getpid(), Processor.get_current_processor().current_task().priority


def priorities(client):
    """Return the priorities of the parent and of its children, by a client of its own and by one that came along."""
    mine = where()[1]
    with Client() as inner:
        children = [inner.submit(where).result()[1], *(priority for _, priority in inner.map(where, [1, 2]))]
        children += inner.get({"x": 1, "a": (where, "x")}, ["a"])["a"][1:]
    return mine, {*children, client.submit(where).result()[1]}


def fail_at(wanted, number):
    if number == wanted:
        raise KeyError(number)
    return number


# ---- calling


def test_arguments_reach_the_function_as_in_a_local_call(client):
    calls = [
        ((1,), {"fourth": 4}),
        ((1, 20, 30, 40, 50), {"fourth": 4}),
        ((1,), {"fourth": 4, "fifth": [50], "sixth": {"a": None}, "third": 30}),
    ]
    for args, kwargs in calls:
        expected = report(*args, **kwargs)
        assert client.submit(report, *args, **kwargs).result() == expected
        assert client.submit_verbose(report, args, kwargs).result() == expected
        assert client.submit_verbose(fn=report, args=args, kwargs=kwargs, capabilities=None).result() == expected
    assert client.submit_verbose(max, (3, 4)).result() == 4


def test_whatever_can_be_called_is_a_function(client):
    offset = 10
    scale = Scale(3)
    assert client.map(lambda number: number + offset, [1, 2]) == [11, 12]
    assert client.map(scale.times, [1, 2]) == client.map(scale, [1, 2]) == [3, 6]
    assert client.map(Scale.named, [1]) == [("Scale", 1)]
    assert client.map(Scale.half, [1]) == [0.5]
    assert client.map(Scale, [4, 5]) == [Scale(4), Scale(5)]
    assert client.map(partial(pow, 2), range(4)) == [1, 2, 4, 8]
    assert client.map("banana".count, ["a", "n"]) == [3, 2]
    assert client.map(str.upper, "ab") == ["A", "B"]
    assert client.map(operator.itemgetter(1), iter([[1, 2], [3, 4]])) == [2, 4]
    assert client.submit(AnswersEverything(), 1).result() == 2
    with pytest.raises(TypeError, match="3 is not callable"):
        client.submit(3)


def test_a_builtin_without_a_signature_works_and_fails_where_it_runs(client):
    assert client.submit(dict, [(1, 2)], a=3).result() == {1: 2, "a": 3}
    assert client.submit(max, [1, -5, 3], key=abs).result() == -5
    assert client.map(range, [1, 2]) == [range(1), range(2)]
    wrong = client.submit(dict, 1, 2, 3)
    with pytest.raises(TypeError, match="expected at most 1 argument, got 3"):
        wrong.result()
    assert client.submit(dict, profiling=3).result() == {"profiling": 3}


def test_arguments_that_do_not_fit_never_reach_a_worker(client):
    for call in (
        lambda: client.submit(report),
        lambda: client.submit(report, 1),
        lambda: client.submit(report, fourth=4),
        lambda: client.submit_verbose(fail_at, (1, 2, 3)),
        lambda: client.submit_verbose(fail_at, (1,), {"wrong": 2}),
        lambda: client.map(fail_at, [1]),
        lambda: client.map(fail_at, [1], [2], [3]),
        lambda: client.starmap(fail_at, [(1, 2), (1,)]),
        lambda: client.get({"a": (fail_at,)}, ["a"]),
    ):
        with pytest.raises(TypeError, match=r"(report|fail_at)\(\): "):
            call()


def test_profiling_reaches_functions_that_take_it(client):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.submit(lambda profiling: profiling, profiling=3).result() == 3
        assert client.submit(lambda **more: more, profiling=3).result() == {"profiling": 3}
    with pytest.warns(DeprecationWarning, match="profiling") as caught:
        assert client.submit_verbose(Scale(2), (4,), {"profiling": True}).result() == 8
    assert caught[0].filename == __file__


def test_quantities_of_capabilities_are_whole_numbers(client):
    for wanted in ({}, {"gpu": -1}, {"gpu": 0}, {"gpu": 2, "linux": 7}, {"gpu": Quantity.ONE}):
        assert client.submit_verbose(abs, (-1,), capabilities=wanted).result() == 1
        assert client.map(abs, [-1], capabilities=wanted) == client.starmap(abs, [(-1,)], capabilities=wanted) == [1]
        assert client.get({"x": -1, "a": (abs, "x")}, ["a"], capabilities=wanted) == {"a": 1}
    for unwanted in ({"gpu": -2}, {"gpu": True}, {"gpu": 1.0}, {"gpu": "1"}, {"": 1}, {1: 1}, {"gpu": 1 << 63}):
        for use in (
            partial(client.submit_verbose, abs, (-1,)),
            partial(client.map, abs, [-1]),
            partial(client.starmap, abs, [(-1,)]),
            partial(client.get, {"x": -1, "a": (abs, "x")}, ["a"]),
        ):
            with pytest.raises(ValueError, match="capability"):
                use(capabilities=unwanted)
    assert client.map(abs, [-1]) == [1]


def power_of_two(bits):
    return 1 << bits


def test_numbers_have_any_size(client):
    bits = 8 * MAX_INLINE_BYTES
    assert client.submit(power_of_two, bits).result().bit_length() == bits + 1
    assert [number.bit_length() for number in client.map(power_of_two, [1, bits, 2])] == [2, bits + 1, 3]
    assert client.submit(int.bit_length, client.submit(power_of_two, bits)).result() == bits + 1


# ---- map


def test_map_is_the_builtin(client):
    assert client.map(abs, {-1: 2, -3: 4}) == [1, 3]
    assert client.map(pow, [2, 3], (3, 2, 1), iter([5])) == [3]
    assert client.map(abs, []) == client.map(abs, iter(())) == client.map(pow, [], [1]) == client.starmap(pow, []) == []
    with pytest.raises(TypeError, match="at least one iterable"):
        client.map(abs)
    with pytest.raises(TypeError, match="not iterable"):
        client.map(abs, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.map(len, [[1, 2], "text"]) == [2, 4]
        assert client.map(operator.add, [[1], [2]], [[3], [4]]) == [[1, 3], [2, 4]]
    for rows in ([(2, 3), [3, 2]], ((2, 3), (3, 2))):
        with pytest.warns(DeprecationWarning, match="starmap"):
            assert client.map(pow, rows) == [8, 9]


def test_an_iterator_is_consumed_as_the_work_goes_on(client, tmp_path):
    """What comes late depends on results of what came early: reading ahead of them all would never end."""

    def items():
        yield tmp_path / "first"
        wait_until((tmp_path / "first").exists)
        yield tmp_path / "second"

    client.map(type(tmp_path).touch, items())
    assert (tmp_path / "second").exists()


def test_an_error_that_is_raised_again_leaves_the_client_connected(client):
    graph = {"wanted": 2, "n": 2, "a": (fail_at, "wanted", "n")}
    for use in (
        partial(client.map, fail_at, [2] * 5, range(5)),
        partial(client.starmap, fail_at, [(2, number) for number in range(5)]),
        partial(client.get, graph, ["a"]),
        lambda: client.submit(fail_at, 2, 2).result(),
    ):
        with pytest.raises(KeyError) as caught:
            use()
        assert "in fail_at" in str(caught.value.__cause__)
        assert client.map(fail_at, [2], [1]) == [1]


# ---- places


def test_children_go_before_their_parent(client):
    assert client.submit(priorities, client).result() == (0, {1})
    assert home is None


def test_an_identity_is_client_and_32_digits(combo, client):
    assert re.fullmatch(rb"Client\|[0-9a-f]{32}", client.identity)
    with Client(combo.get_address()) as other:
        assert other.identity != client.identity


class Tagged(DefaultSerializer):
    """Has a state that travels."""

    def __init__(self, tag):
        self.tag = tag


def test_a_pickled_client_has_all_arguments_and_connects_anew(combo):
    given = {
        "address": combo.get_address(),
        "profiling": True,
        "timeout_seconds": 31,
        "heartbeat_interval_seconds": 3,
        "serializer": Tagged("kept"),
        "stream_output": True,
        "object_storage_address": storage_of(combo),
    }
    client = Client(**given)
    data = pickle.dumps(client)
    client.disconnect()
    with pickle.loads(data) as copy:
        assert copy.identity != client.identity
        arguments = dict(zip(given, copy.__reduce__()[1], strict=True))
        assert (arguments.pop("serializer").tag, given.pop("serializer").tag) == ("kept", "kept")
        assert arguments == given
        assert copy.submit(abs, -1).result() == 1


def storage_of(combo):
    host, _, port = combo.get_address().rpartition(":")
    return f"{host}:{int(port) + 1}"


@pytest.mark.parametrize("seconds", [1e9, 1e12, sys.maxsize, 1e300])
def test_any_number_of_seconds_is_a_time_to_wait(combo, seconds):
    with Client(combo.get_address(), timeout_seconds=seconds, heartbeat_interval_seconds=seconds) as client:
        assert pickle.loads(pickle.dumps(client)).__reduce__()[1][2:4] == (seconds, seconds)
        assert client.submit(len, client.send_object(bytes(100_000))).result() == 100_000


# ---- the end

USES = {
    "submit": lambda client: client.submit(abs, 1),
    "submit_verbose": lambda client: client.submit_verbose(abs, (1,)),
    "map": lambda client: client.map(abs, [1]),
    "map of nothing": lambda client: client.map(abs, []),
    "starmap": lambda client: client.starmap(abs, [(1,)]),
    "get": lambda client: client.get({"x": 1, "a": (abs, "x")}, ["a"]),
    "get of data": lambda client: client.get({"x": 1}, ["x"]),
    "send_object": lambda client: client.send_object(1),
}


def left(client):
    with client:
        pass


@pytest.mark.parametrize("stop", [Client.disconnect, left], ids=["disconnect", "with"])
def test_a_client_that_has_stopped_takes_nothing(combo, stop):
    client = Client(combo.get_address())
    unfinished = client.submit(time.sleep, 600)
    stop(client)
    assert unfinished.cancelled()
    for use in USES.values():
        with pytest.raises(ClientQuitException, match="disconnected"):
            use(client)
    client.disconnect()
    with Client(combo.get_address()) as another:  # the scheduler goes on
        assert another.map(abs, [-1]) == [1]


def test_garbage_collection_disconnects(combo):
    client = Client(combo.get_address())
    future = client.submit(time.sleep, 600)
    del client
    gc.collect()
    concurrent.futures.wait([future])
    assert future.cancelled()


def test_a_protected_scheduler_stops_that_client_only(combo, client):
    other = Client(combo.get_address())
    with pytest.raises(ValueError, match=r"^Scheduler is in protected mode\. Can't shutdown$"):
        other.shutdown()
    for use in USES.values():
        with pytest.raises(ClientQuitException):
            use(other)
    assert client.map(abs, [-1]) == [1]
