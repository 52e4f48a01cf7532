"""Running tasks: results, failures and order; what runs; limits that fall while tasks run."""

import _thread
import pickle
import signal
import sys
import time

import pytest

from scaler_client import context
from scaler_client.context import task_id_of
from scaler_client.exceptions import DeserializeObjectError
from scaler_client.serializer import Serializer, dump_call, dump_function, load_result
from scaler_protocol.batch import Encoding, Status
from scaler_worker.functions import Function, UndefinedFunction
from tests.unit.worker.stage import DEFAULT, Stage, assigned, calls, error, shape, text, tuples, values


@pytest.fixture
def stage():
    return Stage()


def results_of(runs):
    found = []
    for run in runs:
        assert run.status in {Status.VALUE, Status.VALUES}, run
        loaded = pickle.loads(run.payload)
        found += loaded if run.status == Status.VALUES else [loaded]
    return found


def double(x):
    return 2 * x


def add(x, y=0):
    return x + y


def as_list(x):
    return [x]


def fail_if_odd(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


class Loud(Serializer):
    @staticmethod
    def serialize(obj):
        return b"loud" + pickle.dumps(obj)

    @staticmethod
    def deserialize(payload):
        assert bytes(payload[:4]) == b"loud"
        return pickle.loads(payload[4:])


# ---- results


def test_each_block_gives_one_run(stage):
    runs = stage.run(values(range(3), range(3, 8)), double)
    assert shape(runs) == [(0, 3, Status.VALUES), (3, 5, Status.VALUES)]
    assert results_of(runs) == [2 * x for x in range(8)]
    assert stage.record.running() is None


def test_only_the_tasks_of_the_slice_run(stage):
    runs = stage.run(values(range(10, 14), range(14, 18), first=10, start=12, stop=15), double)
    assert shape(runs) == [(12, 2, Status.VALUES), (14, 1, Status.VALUES)]
    assert results_of(runs) == [24, 26, 28]


def test_tuples_are_arguments(stage):
    assert results_of(stage.run(tuples([(1, 2), (3,)], [(4, 5)]), add)) == [3, 3, 9]


def test_calls_have_keywords_and_share_a_run(stage):
    runs = stage.run(calls(((1,), {}), ((1,), {"y": 5}), ((), {"x": 3})), add)
    assert shape(runs) == [(0, 3, Status.VALUES)]
    assert results_of(runs) == [1, 6, 3]


def test_results_that_can_be_changed_travel_alone(stage):
    runs = stage.run(values(range(3)), as_list)
    assert shape(runs) == [(0, 1, Status.VALUE), (1, 1, Status.VALUE), (2, 1, Status.VALUE)]
    assert results_of(runs) == [[0], [1], [2]]


def test_a_result_is_taken_as_it_is_when_its_task_ends(stage):
    log = []

    def remember(x):
        log.append(x)
        return log

    assert results_of(stage.run(values(range(3)), Loaded(remember))) == [[0], [0, 1], [0, 1, 2]]


def test_order_is_kept_between_kinds_of_results(stage):
    mixed = [1, [2], "three", ("four", 4), b"five", None, {6}, 7.0]
    runs = stage.run(values(range(8)), Loaded(mixed.__getitem__))
    assert results_of(runs) == mixed
    assert shape(runs) == [
        (0, 1, Status.VALUES),
        (1, 1, Status.VALUE),
        (2, 4, Status.VALUES),
        (6, 1, Status.VALUE),
        (7, 1, Status.VALUES),
    ]


def test_long_texts_are_counted_at_once(stage):
    runs = stage.run(values(range(2)), Loaded(lambda x: "x" * 5000 if x else ("y" * 5000,)))
    assert shape(runs) == [(0, 1, Status.VALUE), (1, 1, Status.VALUE)]


def test_subclasses_of_atoms_stay_what_they_are(stage):
    runs = stage.run(values([1]), Loaded(Status))
    assert type(results_of(runs)[0]) is Status


def test_a_custom_serializer_gets_each_value_by_itself(stage):
    serializer = Loud()
    fn = Function("add", dump_function(add, serializer))
    runs = stage.run(calls(((1,), {"y": 2}), ((3,), {}), serializer=serializer), fn)
    assert shape(runs) == [(0, 1, Status.VALUE), (1, 1, Status.VALUE)]
    assert [load_result(run.payload, serializer) for run in runs] == [3, 3]


def test_timed_tasks_have_durations_of_their_own(stage):
    def wait(x):
        time.sleep(x)

    for assignment in (
        values([0.0, 0.02], timed=True),
        tuples([(0.0,), (0.02,)], timed=True),
        calls(((0.0,), {}), ((0.02,), {}), timed=True),
    ):
        runs = stage.run(assignment, Loaded(wait))
        assert shape(runs) == [(0, 1, Status.VALUE), (1, 1, Status.VALUE)]
        assert runs[0].seconds < 0.02 <= runs[1].seconds < 5


def test_durations_are_counted_by_span(stage):
    runs = stage.run(values([0.01], [0.0, 0.0]), Loaded(time.sleep))
    assert 0.01 <= runs[0].seconds < 5
    assert sum(run.seconds for run in runs) < 5


# ---- failures


def test_a_failure_is_a_run_of_its_own(stage):
    runs = stage.run(values(range(5)), fail_if_odd)
    assert shape(runs) == [
        (0, 1, Status.VALUES),
        (1, 1, Status.EXCEPTION),
        (2, 1, Status.VALUES),
        (3, 1, Status.EXCEPTION),
        (4, 1, Status.VALUES),
    ]
    assert str(error(runs[3])) == "3 is odd"
    remote = str(error(runs[3]).__cause__)
    assert "in fail_if_odd" in remote
    assert "scaler_worker" not in remote


@pytest.mark.parametrize("how", [values, lambda items: tuples([(item,) for item in items])])
def test_all_may_fail(stage, how):
    runs = stage.run(how(range(50)), Loaded(lambda _: 1 // 0))
    assert shape(runs) == [(x, 1, Status.EXCEPTION) for x in range(50)]


def test_wrong_arguments_are_a_failure(stage):
    (run,) = stage.run(calls(((), {"z": 1})), add)
    assert isinstance(error(run), TypeError)


def test_stop_iteration_is_an_exception_like_others(stage):
    runs = stage.run(values(range(3)), Loaded(lambda x: next(iter([x] if x else []))))
    assert shape(runs) == [(0, 1, Status.EXCEPTION), (1, 2, Status.VALUES)]
    assert isinstance(error(runs[0]), StopIteration)


@pytest.mark.parametrize("leave", [lambda _: sys.exit(4), lambda _: exec("raise KeyboardInterrupt")])
def test_leaving_a_task_leaves_the_worker(stage, leave):
    runs = stage.run(values(range(2)), Loaded(leave))
    assert shape(runs) == [(0, 1, Status.EXITED), (1, 1, Status.EXITED)]
    assert results_of(stage.run(values([3]), double)) == [6]


def test_an_interrupt_hits_the_task_and_nothing_else(stage):
    def interrupt(x):
        if x == 1:
            _thread.interrupt_main()
            for _ in range(1000):  # the signal comes at the next opportunity
                pass
        return x

    before = signal.signal(signal.SIGINT, stage.executor._on_interrupt)
    try:
        signal.raise_signal(signal.SIGINT)  # between tasks: nothing happens
        runs = stage.run(values(range(3)), Loaded(interrupt))
    finally:
        signal.signal(signal.SIGINT, before)
    assert shape(runs) == [(0, 1, Status.VALUES), (1, 1, Status.EXITED), (2, 1, Status.VALUES)]


def test_a_result_that_cannot_be_pickled(stage):
    runs = stage.run(values(range(2)), Loaded(lambda x: (n for n in ()) if x else 5))
    assert shape(runs) == [(0, 1, Status.VALUES), (1, 1, Status.RESULT_NOT_SERIALIZABLE)]
    assert text(runs[1]).startswith("<generator object")


def test_a_result_that_is_too_large(stage):
    (run,) = stage.run(values([1]), Loaded(lambda _: [bytes(17 << 20)]))
    assert run.status == Status.TOO_LARGE


def test_a_function_that_cannot_be_restored_fails_all_its_tasks(stage):
    for broken in (Function("broken", b"no pickle"), UndefinedFunction("unknown", b"")):
        (run,) = stage.run(values(range(3), range(3, 5), start=1), broken)
        assert (run.start, run.count, run.status) == (1, 4, Status.NOT_DESERIALIZABLE)
        assert "Traceback" in text(run)


def test_a_function_whose_module_leaves_is_not_restored(stage):
    class Leaving(Function):
        def load(self):
            sys.exit(1)

    (run,) = stage.run(values(range(3)), Leaving("leaving", b""))
    assert (run.count, run.status) == (3, Status.NOT_DESERIALIZABLE)


def test_arguments_that_cannot_be_restored_fail_their_block(stage):
    good = pickle.dumps([1, 2])
    runs = stage.run(assigned([(good, 2), (b"broken", 3), (pickle.dumps([1]), 2), (good, 2)]), double)
    assert shape(runs) == [
        (0, 2, Status.VALUES),
        (2, 3, Status.NOT_DESERIALIZABLE),
        (5, 2, Status.NOT_DESERIALIZABLE),
        (7, 2, Status.VALUES),
    ]


def test_arguments_of_a_call_that_cannot_be_restored_fail_it_alone(stage):
    blocks = [(dump_call((1,), {}, DEFAULT), 1), (b"broken", 1), (dump_call((2,), {}, DEFAULT), 1)]
    runs = stage.run(assigned(blocks, encoding=Encoding.CALL), double)
    assert shape(runs) == [(0, 1, Status.VALUES), (1, 1, Status.NOT_DESERIALIZABLE), (2, 1, Status.VALUES)]
    assert DeserializeObjectError  # what the client makes of it


# ---- limits, and what runs


@pytest.mark.parametrize("how", ["values", "tuples", "calls", "timed"])
@pytest.mark.parametrize(("at", "limit", "end"), [(3, 0, 4), (3, 5, 5), (3, 4, 4), (0, 0, 1), (9, 2, 10)])
def test_a_slice_ends_where_it_was_recalled(stage, how, at, limit, end):
    ran, ends = [], []

    def recall(x):
        ran.append(x)
        if x == at:
            ends.append(stage.workload.recall(7, limit))
        return x

    assignment = {
        "values": lambda: values(range(4), range(4, 10)),
        "tuples": lambda: tuples([(x,) for x in range(4)], [(x,) for x in range(4, 10)]),
        "calls": lambda: calls(*(((x,), {}) for x in range(10))),
        "timed": lambda: values(range(10), timed=True),
    }[how]()
    runs = stage.run(assignment, Loaded(recall))
    assert ends == [end]
    assert ran == list(range(end))
    assert results_of(runs) == ran
    assert stage.workload.recall(7, 0) is None


def test_a_failing_task_may_be_recalled_behind(stage):
    def fail(x):
        stage.workload.recall(7, 0)
        raise ValueError

    assert shape(stage.run(values(range(10)), Loaded(fail))) == [(0, 1, Status.EXCEPTION)]


def test_the_record_says_what_runs(stage):
    seen = []

    def look(x):
        running = stage.record.running()
        seen.append((running.slice_id, running.task, running.started is not None))

    stage.run(values([0, 1], [2], first=10), Loaded(look))
    stage.run(calls(((0,), {}), ((1,), {}), slice_id=8), Loaded(look))
    assert seen == [(7, 10, True), (7, 11, False), (7, 12, True), (8, 0, True), (8, 1, True)]


def test_a_slice_of_another_scheduler_ends_behind_its_running_task(stage):
    ran = []

    def run(x):
        ran.append(x)
        if x == 3:
            stage.workload.keep_running()
        return x

    assert shape(stage.run(values(range(10)), Loaded(run))) == [(0, 4, Status.VALUES)]
    assert ran == [0, 1, 2, 3]


def test_a_task_knows_its_place(stage):
    seen = []

    def look(x):
        around = context.get()
        seen.append((around.scheduler_address, around.priority, around.task_id))

    stage.run(values([0, 1], priority=4), Loaded(look))
    assert seen == [("tcp://scheduler:1", 4, task_id_of(b"Client|1", 3, task)) for task in (0, 1)]
    assert context.get() is None


# ---- handing over


def test_results_are_announced_when_nothing_waits(stage):
    stage.put(values(range(3), slice_id=1), double)
    stage.put(values(range(3), slice_id=2), double)
    stage.run_next()
    assert stage.sender.woken == 0
    stage.run_next()
    assert stage.sender.woken == 1


def test_results_are_announced_when_it_is_time(stage):
    stage.sender.flushed_at = 0.0
    stage.put(values(range(3), slice_id=1), double)
    stage.put(values(range(3), slice_id=2), double)
    stage.run_next()
    assert stage.sender.woken == 1


def test_results_are_announced_when_nobody_looks(stage):
    stage.sender.is_armed = False
    stage.put(values(range(3), slice_id=1), double)
    stage.put(values(range(3), slice_id=2), double)
    stage.run_next()
    assert stage.sender.woken == 1


def test_results_are_announced_when_they_are_many(stage):
    stage.sender.on_wake = stage.outcomes.take
    stage.put(values(range(4), slice_id=1), Loaded(lambda _: ["x" * 600_000]))
    stage.put(values(range(4), slice_id=2), double)
    stage.run_next()
    assert stage.sender.woken == 2


class Loaded(Function):
    """A function that need not be pickled."""

    def __init__(self, fn):
        super().__init__("loaded", b"")
        self._loaded = (fn, DEFAULT)
