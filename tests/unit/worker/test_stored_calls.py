"""Large results leave for the object storage, and arguments come from there."""

import pickle
import sys
import threading

import pytest

from scaler_client.exceptions import ObjectStorageException
from scaler_client.linked import AwaitedLink, InlineLink, Linked, StoredLink, dump_linked, write_linked
from scaler_client.serializer import DefaultSerializer, dump_result
from scaler_client.stored import dump_call_apart, load_stored, whole_parts
from scaler_protocol.batch import (
    MADE_HERE,
    MAX_INLINE_BYTES,
    STORED_BYTES,
    U32,
    Encoding,
    Status,
    column,
    unpack_stored,
)
from tests.unit.worker.stage import DEFAULT, Stage, assigned, calls, error, function, shape, values

LARGE = bytes(STORED_BYTES)


class Custom(DefaultSerializer):
    """Not the default one, though it does the same."""


@pytest.fixture
def stage():
    stage = Stage()
    stage.storage.address = "tcp://storage:1"
    return stage


def blow(size):
    return bytes(size)


def total(*args, **kwargs):
    return sum([*args, *kwargs.values()])


def linked(*blocks, **options):
    return assigned([(block, 1) for block in blocks], encoding=Encoding.LINKED, **options)


@pytest.mark.parametrize("make", [values, lambda items: calls(*(((size,), {}) for size in items))])
@pytest.mark.parametrize("serializer", [DEFAULT, Custom()])
def test_a_large_result_is_stored_for_its_client(stage, make, serializer):
    if serializer is not DEFAULT:
        make = lambda items: calls(*(((size,), {}) for size in items), serializer=serializer)  # noqa: E731
    runs = stage.run(make([10, STORED_BYTES]), blow, serializer)
    size, key = unpack_stored(runs[-1].payload)
    assert (runs[-1].status, size) == (Status.STORED, len(stage.storage.objects[key]))
    assert stage.storage.owners == [b"Client|1"]
    assert load_stored(stage.storage.fetch(key), serializer) == LARGE


def test_without_an_object_storage_it_travels_as_far_as_it_may(stage):
    stage.storage.address = ""
    runs = stage.run(values([STORED_BYTES, MAX_INLINE_BYTES]), blow)
    assert shape(runs) == [(0, 1, Status.VALUE), (1, 1, Status.TOO_LARGE)]
    assert pickle.loads(runs[0].payload) == LARGE


def test_no_place_for_a_result_is_its_tasks_failure(stage):
    runs = stage.run(values([STORED_BYTES] * 4 + [1]), blow)
    assert shape(runs) == [
        (0, 1, Status.STORED),
        (1, 1, Status.STORED),
        (2, 1, Status.EXCEPTION),
        (3, 1, Status.EXCEPTION),
        (4, 1, Status.VALUES),
    ]
    assert isinstance(error(runs[2]), ObjectStorageException)
    assert str(error(runs[2])) == "no place for it"


def test_arguments_come_from_where_they_are(stage):
    key, whole = b"key 1", b"key 2"
    stage.storage.put(key, b"client", whole_parts(100, DEFAULT))
    stage.storage.put(whole, b"client", dump_call_apart((LARGE, [10]), {}, DEFAULT))
    sum_block = dump_linked((1, 0), {"k": 0}, {1: StoredLink(key), "k": InlineLink(dump_result(10, DEFAULT))}, DEFAULT)
    runs = stage.run(linked(sum_block), total)
    assert pickle.loads(runs[0].payload) == [111]
    runs = stage.run(linked(write_linked(Linked(None, whole, []))), lambda *args: len(args[0]) + args[1][0])
    assert pickle.loads(runs[0].payload) == [STORED_BYTES + 10]


def test_awaited_results_come_with_the_slice(stage):
    blocks = [dump_linked((n, 0), {}, {1: AwaitedLink()} if n else {}, DEFAULT) for n in range(3)]
    run = dump_result(100, DEFAULT)
    slice_ = linked(*blocks)
    slice_.payload += run
    slice_.dependency_counts = column(U32, [0, 1, 1])
    slice_.dependency_statuses = bytes([Status.VALUE, Status.VALUE])
    slice_.dependency_positions = column(U32, [0, 0])
    slice_.dependency_sizes = column(U32, [len(run), 0])
    slice_.dependency_repeats = column(U32, [0, 1])
    (answer,) = stage.run(slice_, total)
    assert pickle.loads(answer.payload) == [0, 101, 102]


def made_here(needs, *, serializer=DEFAULT, **options):
    """Make a slice: for each task those of the slice that it needs; its number is its first argument."""
    blocks = [
        dump_linked((task, *needed), {}, {place: AwaitedLink() for place in range(1, len(needed) + 1)}, serializer)
        for task, needed in enumerate(needs)
    ]
    slice_ = linked(*blocks, **options)
    edges = [task for needed in needs for task in needed]
    slice_.dependency_counts = column(U32, [len(needed) for needed in needs])
    slice_.dependency_statuses = bytes([MADE_HERE] * len(edges))
    slice_.dependency_positions = column(U32, edges)
    slice_.dependency_sizes = column(U32, [0] * len(edges))
    return slice_


def test_results_of_the_slice_itself_are_passed_on(stage):
    (answer,) = stage.run(made_here([[], [0], [1, 0], [], [2]]), total)
    assert pickle.loads(answer.payload) == [0, 1, 3, 3, 7]


@pytest.mark.parametrize("serializer", [DEFAULT, Custom()])
def test_each_task_gets_a_result_of_its_own(stage, serializer):
    def grow(number, *lists):
        for one in lists:
            one.append(number)
        return [number] if not lists else [item for one in lists for item in one]

    runs = stage.run(made_here([[], [0], [0, 0], [1]], serializer=serializer), grow, serializer)
    assert [pickle.loads(run.payload) for run in runs] == [[0], [0, 1], [0, 2, 0, 2], [0, 1, 3]]


def test_a_large_result_of_the_slice_itself_is_fetched(stage):
    def lengths(number, *values):
        return [len(value) for value in values] if values else bytes(STORED_BYTES + number)

    runs = stage.run(made_here([[], [], [0, 1, 0]]), lengths)
    assert shape(runs) == [(0, 1, Status.STORED), (1, 1, Status.STORED), (2, 1, Status.VALUE)]
    assert pickle.loads(runs[2].payload) == [STORED_BYTES, STORED_BYTES + 1, STORED_BYTES]


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda: 1 / 0, Status.EXCEPTION),
        (lambda: sys.exit(3), Status.EXITED),
        (threading.Lock, Status.RESULT_NOT_SERIALIZABLE),
    ],
)
@pytest.mark.parametrize("timed", [False, True])
def test_what_needs_a_task_that_failed_is_not_run_and_ends_likewise(stage, monkeypatch, spoil, status, timed):
    ran = []

    def work(number, *_):
        ran.append(number)
        return spoil() if number == 1 else number

    slice_ = made_here([[], [0], [1], [2, 0], [0]])
    slice_.timed = timed
    local = function(abs)
    monkeypatch.setattr(type(local), "load", lambda _: (work, DEFAULT))
    runs = stage.run(slice_, local)

    ended = {run.start: (run.status, run.payload) for run in runs if run.status not in {Status.VALUE, Status.VALUES}}
    assert ran == [0, 1, 4]
    assert set(ended) == {1, 2, 3}
    assert ended[1] == ended[2] == ended[3]
    assert ended[1][0] == status


def test_what_is_missing_is_the_failure_of_that_task_alone(stage):
    good = dump_linked((1,), {}, {}, DEFAULT)
    gone = dump_linked((1,), {}, {0: StoredLink(b"gone")}, DEFAULT)
    runs = stage.run(linked(good, gone, b"nonsense", good), total)
    assert shape(runs) == [
        (0, 1, Status.VALUES),
        (1, 1, Status.EXCEPTION),
        (2, 1, Status.NOT_DESERIALIZABLE),
        (3, 1, Status.VALUES),
    ]
    assert "no object b'gone'" in str(error(runs[1]))
