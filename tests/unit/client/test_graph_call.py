"""A graph on its way: few batches, outcomes only for what is wanted, one end for all."""

import graphlib
import operator
from collections import deque

import pytest

from scaler_client.batches import Batch
from scaler_client.core import ClientCore
from scaler_client.exceptions import MissingObjects
from scaler_client.functions import Functions
from scaler_client.future import ProfileResult, ScalerFuture, Ticket
from scaler_client.graph import cull_graph
from scaler_client.graph_call import GraphCall, GraphOptions
from scaler_client.linking import Linker
from scaler_client.object_reference import ObjectReference
from scaler_client.serializer import DefaultSerializer, dump_failure, dump_result
from scaler_client.stored import whole_parts
from scaler_protocol import messages as m
from scaler_protocol.batch import MAX_BATCH_TASKS, STORED_BYTES, U32, U64, Encoding, Status, numbers
from tests.unit.client.shelf import Shelf
from tests.unit.client.test_core import results, taken, up, values

DEFAULT = DefaultSerializer()
OPTIONS = GraphOptions(0, False, {})


class Agent:
    """A client's agent without threads; orders are carried out by `settle`."""

    client_id = b"c" * 16

    def __init__(self, shelf):
        self.core = ClientCore(10, shelf)
        self.core.on_up(up())
        self.batch_ids = 0
        self.orders = deque()

    def batch(self, batch_id, terms, packed, receiver):
        return Batch(
            batch_id, terms.function, packed, DEFAULT, receiver, terms.priority, terms.timed, terms.capabilities
        )

    def submit_graph(self, count, make):
        first, self.batch_ids = self.batch_ids + 1, self.batch_ids + count
        for batch in make(first):
            self.core.submit(batch, 0.0)

    def cancel_batches(self, batch_ids):
        self.orders.append(lambda: self.core.cancel_batches(batch_ids))

    def fail_batches(self, batch_ids, failure):
        self.orders.append(lambda: self.core.fail(batch_ids, failure))

    def abandon(self, batch_ids):
        self.orders.append(lambda: self.core.abandon(batch_ids))

    def run_callback(self, callback):
        callback()

    def settle(self):
        while self.orders:
            self.orders.popleft()()


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def agent(shelf):
    return Agent(shelf)


def submit(agent, graph, keys, *, options=OPTIONS, linker=None):
    call = GraphCall(agent, options)
    linker = linker or Linker(DEFAULT, Shelf())
    futures = call.submit(cull_graph(graph, keys), keys, linker, Functions(DEFAULT).of)
    return call, futures


def submitted(agent):
    return [message for message in taken(agent.core) if isinstance(message, m.SubmitBatch)]


def value(index, result):
    return index, 1, Status.VALUE, dump_result(result, DEFAULT)


def chain(length):
    return {"n0": 1, **{f"n{number}": (abs, f"n{number - 1}") for number in range(1, length)}}


def test_calls_that_need_nothing_share_blocks_and_the_others_wait(agent):
    graph = {
        "x": 1,
        "y": 2,
        "a": (operator.neg, "x"),
        "b": (operator.neg, "y"),
        "c": (operator.add, "a", "b"),
        "d": (operator.neg, "c"),
    }
    _, futures = submit(agent, graph, ["d", "x", "c"])

    first, second, third = submitted(agent)
    assert list(futures) == ["d", "x", "c"]
    assert (first.encoding, first.count, len(first.block_counts)) == (Encoding.VALUES, 2, 4)
    assert (second.encoding, second.count) == (third.encoding, third.count) == (Encoding.LINKED, 1)
    assert list(numbers(U64, second.dependency_batches)) == [first.batch_id] * 2
    assert list(numbers(U32, second.dependency_tasks)) == [0, 1]
    assert {(message.graph, message.graph_ready) for message in (first, second, third)} == {(1, 2)}


def test_data_is_there_at_once_with_an_empty_profile(agent):
    _, futures = submit(agent, {"x": [1], "a": (abs, "x")}, ["x"])

    assert agent.core.is_idle
    assert futures["x"].done()
    assert futures["x"].result() == [1]
    assert futures["x"].profiling_info() == ProfileResult()
    assert len({future.task_id for future in submit(agent, {"x": 1, "y": 2}, ["x", "y"])[1].values()}) == 2


def test_ten_thousand_in_a_chain_are_three_batches(agent):
    submit(agent, chain(10_000), ["n9999"])
    messages = submitted(agent)
    assert [message.count for message in messages] == [
        1,
        MAX_BATCH_TASKS,
        MAX_BATCH_TASKS,
        9999 - 1 - 2 * MAX_BATCH_TASKS,
    ]


def test_only_what_is_wanted_gets_its_value(agent):
    _, futures = submit(agent, chain(4), ["n3", "n1"])
    agent.core.on_results(results(2, values(0, "one")))
    agent.core.on_results(results(3, (0, 1, Status.VALUE, b"no pickle"), value(1, "three")))
    assert [futures[key].result() for key in ("n1", "n3")] == ["one", "three"]
    assert agent.core.is_idle


def test_one_failure_is_that_of_all_that_is_unfinished(agent):
    graph = {"x": 1, "a": (abs, "x"), "b": (abs, "x"), "c": (operator.neg, "a"), "d": (operator.neg, "b")}
    _, futures = submit(agent, graph, ["a", "b", "c", "d"])

    agent.core.on_results(results(2, values(0, "fine"), (1, 1, Status.EXCEPTION, dump_failure(KeyError("k")))))
    agent.settle()

    assert futures["a"].result() == "fine"
    assert [(type(futures[key].exception()), futures[key].exception().args) for key in "bcd"] == [
        (KeyError, ("k",))
    ] * 3
    assert agent.core.is_idle
    agent.core.check()
    assert [type(message) for message in taken(agent.core)][-1] is m.AbandonBatches


def test_cancelling_one_future_cancels_all(agent):
    _, futures = submit(agent, chain(4), ["n1", "n3"])
    taken(agent.core)

    with pytest.raises(TimeoutError):
        futures["n3"].cancel(timeout=0)
    agent.settle()

    asked = [message for message in taken(agent.core) if isinstance(message, m.CancelTasks)]
    assert [message.batch_id for message in asked] == [2, 3]
    agent.core.on_results(results(2, values(0, "it was faster")))
    agent.core.on_results(results(3, (0, 2, Status.CANCELLED, b"")))
    assert futures["n1"].result() == "it was faster"
    assert futures["n3"].cancelled()


def test_a_call_that_ends_as_cancelled_takes_the_others_along(agent):
    _, futures = submit(agent, {"x": 1, "a": (abs, "x"), "b": (operator.neg, "x")}, ["a", "b"])
    taken(agent.core)

    agent.core.on_results(results(2, (0, 1, Status.CANCELLED, b"")))
    agent.settle()

    assert futures["a"].cancelled()
    assert [message.batch_id for message in taken(agent.core)] == [3]


def test_what_is_given_up_is_heard_of_no_more(agent):
    call, futures = submit(agent, chain(3), ["n2"])
    call.abandon()
    agent.settle()
    assert agent.core.is_idle
    assert not futures["n2"].done()


def test_once_accepted_it_is_not_refused_by_another_scheduler(agent):
    submit(agent, chain(4), ["n3"])
    agent.core.on_results(results(2, values(0, 1)))
    taken(agent.core)
    agent.core.on_up(up())
    assert [message.graph_ready for message in submitted(agent)] == [0]


def test_options_hold_for_every_call(agent):
    submit(agent, chain(3), ["n2"], options=GraphOptions(4, True, {"gpu": 1}))
    assert {(s.priority, s.timed, tuple(s.capabilities.items())) for s in submitted(agent)} == {
        (4, True, (("gpu", 1),))
    }


def test_a_bound_method_of_many_calls_is_one_function(agent):
    graph = {"x": 1, **{f"n{number}": ((5).__add__, "x") for number in range(50)}}
    submit(agent, graph, list(graph))
    assert len([message for message in taken(agent.core) if isinstance(message, m.DefineFunction)]) == 1


def test_what_many_calls_have_is_stored_once_and_goes_with_the_last(agent, shelf):
    graph = {"x": bytes(STORED_BYTES), **{f"n{number}": (len, "x") for number in range(5)}}
    _, futures = submit(agent, graph, [f"n{number}" for number in range(5)], linker=Linker(DEFAULT, shelf))
    assert len(shelf.objects) == 1
    (message,) = submitted(agent)
    assert message.encoding == Encoding.LINKED
    assert not message.dependency_counts
    agent.core.on_results(results(message.batch_id, *(value(number, 5) for number in range(5))))
    assert {future.result() for future in futures.values()} == {5}
    assert not shelf.objects


def test_references_and_futures_are_arguments(agent, shelf):
    handle = shelf.put(whole_parts("sent", DEFAULT))
    reference = ObjectReference(b"name", handle.size, handle.key, handle)
    _, earlier = submit(agent, {"x": -1, "a": (abs, "x")}, ["a"])
    graph = {"r": reference, "f": earlier["a"], "b": (operator.add, "r", "f")}
    _, futures = submit(agent, graph, ["b", "r"], linker=Linker(DEFAULT, shelf))
    assert futures["r"].result() is reference
    *_, message = submitted(agent)
    assert list(numbers(U32, message.dependency_counts)) == [1]


def test_a_future_that_the_client_does_not_hold_is_missing(agent, shelf):
    def refuse(_):
        raise MissingObjects("another client's")

    stranger = ScalerFuture(Ticket(agent, 1), 0)
    with pytest.raises(MissingObjects):
        submit(agent, {"f": stranger, "a": (abs, "f")}, ["a"], linker=Linker(DEFAULT, shelf, refuse))
    assert agent.core.is_idle


def test_what_is_wrong_is_said_before_anything_is_submitted(agent):
    with pytest.raises(graphlib.CycleError):
        submit(agent, {"a": (abs, "b"), "b": (abs, "a")}, ["a"])
    with pytest.raises(TypeError, match="lower"):
        submit(agent, {"x": 1, "a": (str.lower, "x", "x")}, ["a"])
    assert agent.core.is_idle
    assert agent.batch_ids == 0


def test_in_a_forked_process_all_futures_end(agent):
    _, futures = submit(agent, chain(4), ["n3", "n1"])
    for receiver in agent.core.receivers():
        receiver.end_in_child(ValueError("forked"))
    assert all(isinstance(future.exception(), ValueError) for future in futures.values())
