"""One map from its feeding to its result, with a client that is played by the test."""

import operator
import threading
from concurrent.futures import CancelledError

import pytest

from scaler_client import mapping
from scaler_client.exceptions import ObjectStorageException
from scaler_client.linking import Linker
from scaler_client.mapping import MapCall, chunks
from scaler_client.packing import pack_values
from scaler_client.serializer import DefaultSerializer, load_values
from scaler_client.stored import whole_parts
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import MAX_BATCH_TASKS, U32, numbers
from tests.unit.client.shelf import Shelf

LINKER = Linker(DefaultSerializer(), Shelf(is_available=False))


class Agent:
    """Keeps the parts; `on_submit` may answer them."""

    def __init__(self, on_submit=lambda *_: None):
        self.parts = []
        self.abandoned = []
        self.on_submit = on_submit

    def submit(self, terms, packed, part):
        self.parts.append((part, packed))
        self.on_submit(part, packed)
        return len(self.parts) - 1

    def abandon(self, batch_ids):
        self.abandoned += batch_ids


def answer(part, packed):
    part.succeeded(0, [-value for value in values_of(packed)], 0)


def values_of(packed):
    values = []
    position = 0
    for size in numbers(U32, packed.block_sizes):
        values += load_values(packed.payload[position : position + size])
        position += size
    return values


def batches(*lists):
    for values in lists:
        for packed in pack_values(values, LINKER):
            yield None, packed


def in_thread(call, *lists):
    """Run the map in a thread; return it and what came of it."""
    outcome = []

    def run():
        try:
            outcome.append(call.run(batches(*lists)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def wait_until(condition):
    event = threading.Event()
    while not condition():
        event.wait(0.001)


def test_results_come_in_order():
    agent = Agent(answer)
    assert MapCall(agent, reads_ahead=False).run(batches([1, 2], [3])) == [-1, -2, -3]
    assert agent.abandoned == []


def test_nothing_gives_nothing():
    assert MapCall(Agent(), reads_ahead=False).run(batches()) == []


def test_results_may_come_in_any_order_and_any_parts():
    agent = Agent()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=False), [1, 2, 3], [4, 5])
    wait_until(lambda: len(agent.parts) == 2)
    (first, _), (second, _) = agent.parts
    second.succeeded(1, ["e"], 0)
    first.succeeded(1, ["b", "c"], 0)
    second.succeeded(0, ["d"], 0)
    first.succeeded(0, ["a"], 0)
    thread.join()
    assert outcome == [list("abcde")]


def test_the_first_item_that_failed_counts_and_what_comes_after_is_dropped():
    agent = Agent()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=False), [0, 1, 2], [3, 4])
    wait_until(lambda: len(agent.parts) == 2)
    (first, _), (second, _) = agent.parts
    second.failed(0, 1, lambda: KeyError("later"), 0)
    first.failed(1, 2, lambda: KeyError("earlier"), 0)
    wait_until(lambda: agent.abandoned == [1])
    assert thread.is_alive()
    first.succeeded(0, ["a"], 0)
    thread.join()
    assert str(outcome[0]) == "'earlier'"
    assert agent.abandoned == [1, 0]


def test_a_failure_of_the_first_item_is_raised_at_once():
    agent = Agent(lambda part, _: part.failed(0, 1, lambda: KeyError("k"), 0))
    read = []

    def endless():
        for one in batches(*[[n] for n in range(100)]):
            read.append(one)
            yield one

    with pytest.raises(KeyError):
        MapCall(agent, reads_ahead=True).run(endless())
    assert len(read) == 1


def test_cancelled_items_end_the_map():
    agent = Agent(lambda part, packed: part.cancelled(0, packed.count))
    with pytest.raises(CancelledError):
        MapCall(agent, reads_ahead=False).run(batches([1, 2]))


def test_an_iterator_is_read_no_further_than_the_work_allows(monkeypatch):
    monkeypatch.setattr(mapping, "MIN_AHEAD_TASKS", 4)
    agent = Agent()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=True), *[[n, n] for n in range(50)])
    wait_until(lambda: len(agent.parts) == 2)
    done = 0
    ahead = 0
    while done < 50:
        wait_until(lambda done=done: len(agent.parts) > done)
        ahead = max(ahead, len(agent.parts) - done)
        answer(*agent.parts[done])
        done += 1
    thread.join()
    assert len(outcome[0]) == 100
    assert 2 <= ahead <= 26


def test_the_most_on_its_way_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(mapping, "MAX_AHEAD_BYTES", 1000)
    agent = Agent()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=False), ["x" * 900], ["y" * 900], ["z" * 900])
    for count in (2, 3):
        wait_until(lambda count=count: len(agent.parts) == count)
        agent.parts[count - 2][0].succeeded(0, [count], 0)
    agent.parts[2][0].succeeded(0, [4], 0)
    thread.join()
    assert outcome == [[2, 3, 4]]


def test_an_error_of_the_iterable_drops_what_was_submitted():
    def broken():
        yield from batches([1], [2])
        raise ZeroDivisionError

    agent = Agent()
    with pytest.raises(ZeroDivisionError):
        MapCall(agent, reads_ahead=False).run(broken())
    assert agent.abandoned == [0, 1]


@pytest.mark.parametrize("kind", [list, tuple, range, iter, dict.fromkeys, lambda items: map(operator.pos, items)])
def test_all_items_are_in_the_chunks(kind):
    items = range(10_000) if kind is range else kind(range(10_000))
    parts = list(chunks(items))
    assert [item for part in parts for item in part] == list(range(10_000))
    assert max(map(len, parts)) == MAX_BATCH_TASKS


def test_a_slow_iterator_is_sent_as_it_comes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mapping.time, "perf_counter", lambda: now[0])

    def slow():
        for n in range(20):
            now[0] += 0.01
            yield n

    assert [len(part) for part in chunks(slow())] == [1] * 20


# ---- large results


def stored(shelf, value):
    return StoredResult(shelf.put(whole_parts(value, DefaultSerializer())), DefaultSerializer())


def test_large_results_are_fetched_while_others_are_awaited():
    agent, shelf = Agent(), Shelf()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=False), [1, 2], [3])
    wait_until(lambda: len(agent.parts) == 2)
    (first, _), (second, _) = agent.parts
    first.succeeded(1, [stored(shelf, "b")], 0)
    wait_until(lambda: shelf.fetched and not shelf.objects)
    assert thread.is_alive()
    second.succeeded(0, [stored(shelf, "c")], 0)
    first.succeeded(0, ["a"], 0)
    thread.join()
    assert outcome == [["a", "b", "c"]]
    assert not shelf.objects


def test_a_large_result_that_is_lost_fails_the_map():
    agent, shelf = Agent(), Shelf()
    thread, outcome = in_thread(MapCall(agent, reads_ahead=False), [1, 2, 3])
    wait_until(lambda: agent.parts)
    part = agent.parts[0][0]
    lost = stored(shelf, "b")
    shelf.objects.clear()
    part.succeeded(1, [lost], 0)
    del lost
    part.succeeded(2, [stored(shelf, "c")], 0)
    assert thread.is_alive()
    part.succeeded(0, ["a"], 0)
    thread.join()
    assert type(outcome[0]) is ObjectStorageException
    assert not shelf.objects


def test_a_map_that_failed_takes_nothing_in():
    shelf = Shelf()
    agent = Agent(lambda part, _: part.failed(0, 1, lambda: KeyError("k"), 0))
    call = MapCall(agent, reads_ahead=False)
    with pytest.raises(KeyError):
        call.run(batches([1, 2, 3]))
    agent.parts[0][0].succeeded(1, [stored(shelf, "late")], 0)
    assert not shelf.objects
