"""Each way to fail is a typed error of its own future, at once, and the next task runs on the same worker."""

import time

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import (
    DeserializeObjectError,
    ProcessorDiedError,
    ResultNotSerializableError,
    TaskExceptionNotSerializableError,
    TaskExitedError,
    TaskSerializationError,
)
from tests.integration import failing_tasks as tasks
from tests.integration import output_tasks

pytestmark = pytest.mark.integration

SOON_SECONDS = 5

CASES = {
    # the task leaves, its process goes on
    "sys.exit": ((tasks.exit_with, 3), TaskExitedError, {"exit_code": 3, "stderr_tail": ""}),
    "sys.exit with a text": ((tasks.exit_with, "reason"), TaskExitedError, {"exit_code": 1}),
    "sys.exit without a code": ((tasks.exit_with, None), TaskExitedError, {"exit_code": 0}),
    "KeyboardInterrupt": ((tasks.interrupt,), TaskExitedError, {"exit_code": 130, "signal_name": None}),
    # it ends its process
    "os._exit": ((output_tasks.die, 3), ProcessorDiedError, {"exit_code": 3, "signal_name": None, "stderr_tail": ""}),
    "os._exit(0)": ((output_tasks.die, 0), ProcessorDiedError, {"exit_code": 0}),
    "a null pointer": ((output_tasks.die, "null"), ProcessorDiedError, {"signal_name": "SIGSEGV", "exit_code": None}),
    "os.abort": ((output_tasks.die, "abort"), ProcessorDiedError, {"signal_name": "SIGABRT"}),
    "a signal it sends itself": ((output_tasks.die, "segv"), ProcessorDiedError, {"signal_name": "SIGSEGV"}),
    # exceptions
    "endless recursion": ((tasks.recurse,), RecursionError, {}),
    "a group of exceptions": ((tasks.raise_group,), ExceptionGroup, {}),
    "BaseException": ((tasks.raise_error, BaseException), BaseException, {}),
    "GeneratorExit": ((tasks.raise_error, GeneratorExit), GeneratorExit, {}),
    "an exception with a lock": (
        (tasks.raise_error, tasks.HoldingError),
        TaskExceptionNotSerializableError,
        {"original_repr": "HoldingError('it holds a lock')"},
    ),
    "an exception that cannot be restored": (
        (tasks.raise_error, tasks.OddError, 1, 2),
        TaskExceptionNotSerializableError,
        {"original_repr": "OddError(1)"},
    ),
    "an exception that is restored as something else": (
        (tasks.raise_error, tasks.OtherwiseError),
        TaskExceptionNotSerializableError,
        {},
    ),
    **{
        f"an exception that when pickled does {how}": (
            (tasks.raise_error, tasks.MisbehavingError, how),
            TaskExceptionNotSerializableError,
            {},
        )
        for how in ("raise", "exit", "interrupt")
    },
    "an exception that when pickled ends the process": (
        (tasks.raise_error, tasks.MisbehavingError, 4),
        ProcessorDiedError,
        {"exit_code": 4},
    ),
    # results
    "a result with a lock": ((tasks.give_lock,), ResultNotSerializableError, {}),
    **{
        f"a result that when pickled does {how}": ((tasks.give_odd, how), ResultNotSerializableError, {})
        for how in ("raise", "exit", "interrupt")
    },
    "a result that when pickled ends the process": ((tasks.give_odd, 6), ProcessorDiedError, {"exit_code": 6}),
    **{
        f"a result that when restored does {how}": ((tasks.give_elsewhere, how), DeserializeObjectError, {})
        for how in ("raise", "exit", "interrupt")
    },
    # arguments
    **{
        f"an argument that when restored does {how}": ((tasks.give, tasks.Bomb(how)), DeserializeObjectError, {})
        for how in ("raise", "exit", "interrupt")
    },
    "an argument that when restored ends the process": (
        (tasks.give, tasks.Bomb(7)),
        ProcessorDiedError,
        {"exit_code": 7},
    ),
    "an argument that when restored crashes": (
        (tasks.give, tasks.Bomb("null")),
        ProcessorDiedError,
        {"signal_name": "SIGSEGV"},
    ),
}


@pytest.fixture(scope="module")
def address():
    with SchedulerClusterCombo(n_workers=1) as combo:
        yield combo.get_address()


@pytest.fixture(params=[False, True], ids=["plain", "profiling"])
def client(request, address):
    with Client(address, profiling=request.param) as client:
        yield client


@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_a_typed_error_at_once_and_the_worker_goes_on(client, case):
    call, kind, expected = CASES[case]
    worker = client.submit(tasks.worker_id).result()
    begun = time.monotonic()
    error = client.submit(*call).exception(60)
    assert time.monotonic() - begun < SOON_SECONDS
    assert type(error) is kind
    assert {name: getattr(error, name) for name in expected} == expected
    if isinstance(error, TaskSerializationError):
        assert error.original_repr
        assert "Traceback" in error.remote_traceback
    assert client.submit(tasks.worker_id).result(60) == worker


@pytest.mark.parametrize("case", CASES)
def test_map_raises_the_same(address, case):
    (fn, *arguments), kind, _ = CASES[case]
    with Client(address) as client:
        worker = client.submit(tasks.worker_id).result()
        with pytest.raises(kind):
            client.starmap(fn, [tuple(arguments)] * 3)
        assert client.map(tasks.worker_id, [1, 2]) == [worker] * 2


def test_a_crash_says_where(client):
    error = client.submit(output_tasks.say_and_die, "the model is bad", "null").exception(60)
    assert error.stderr_tail.startswith("the model is bad err\nFatal Python error: Segmentation fault\n")
    assert "in die" in error.stderr_tail
    assert "scaler_worker" not in error.stderr_tail
    assert "the model is bad err" in error.__notes__[0]
