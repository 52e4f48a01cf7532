"""What the bytes of an outcome mean."""

import pickle

import pytest

from scaler_client import exceptions as e
from scaler_client.outcomes import read_failure, read_values
from scaler_client.serializer import DefaultSerializer, dump_failure, dump_result, dump_values
from scaler_client.stored import dump_apart
from scaler_protocol.batch import RESULTS, STORED_BYTES, Status, died_text, pack_stored
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


def failure(status, text):
    return read_failure(status, memoryview(text.encode()))()


def test_results():
    assert read_values(Status.VALUE, 1, memoryview(dump_result([1], DEFAULT)), DEFAULT, Shelf()) == [[1]]
    assert read_values(Status.VALUES, 2, memoryview(dump_values([1, 2])), DEFAULT, Shelf()) == [1, 2]


@pytest.mark.parametrize("data", [dump_values([1]), pickle.dumps("ab"), b"nonsense", b"cno_such_module\nx\n."])
def test_results_that_cannot_be_restored_are_a_failure(data):
    make = read_values(Status.VALUES, 2, memoryview(data), DEFAULT, Shelf())
    assert type(make()) is e.DeserializeObjectError


def test_each_task_gets_an_exception_of_its_own():
    make = read_failure(Status.EXCEPTION, memoryview(dump_failure(KeyError("k"))))
    assert type(make()) is KeyError
    assert make() is not make()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.EXITED, e.TaskExitedError),
        (Status.PROCESSOR_DIED, e.ProcessorDiedError),
        (Status.WORKER_DIED, e.WorkerDiedError),
        (Status.NOT_DESERIALIZABLE, e.DeserializeObjectError),
        (Status.RESULT_NOT_SERIALIZABLE, e.ResultNotSerializableError),
        (Status.EXCEPTION_NOT_SERIALIZABLE, e.TaskExceptionNotSerializableError),
        (Status.TOO_LARGE, ValueError),
        (Status.TIMED_OUT, e.TaskTimeoutError),
        (Status.REFUSED, e.SchedulerFullError),
    ],
)
def test_each_status_has_its_exception(status, kind):
    error = failure(status, "why it is so\nand more")
    assert type(error) is kind
    assert "why it is so" in str(error)


def test_every_status_is_known():
    others = {*RESULTS, Status.EXCEPTION, Status.CANCELLED, Status.DEPENDENCY_OVER}
    for status in set(Status) - others:
        assert isinstance(failure(status, "x"), BaseException)


def test_the_end_of_a_process_is_told_in_attributes():
    died = failure(Status.PROCESSOR_DIED, "signal_name=SIGSEGV\nthe process 12 was ended")
    assert (died.signal_name, died.exit_code, str(died)) == ("SIGSEGV", None, "the process 12 was ended")
    died = failure(Status.PROCESSOR_DIED, "exit_code=-3\nit left")
    assert (died.signal_name, died.exit_code, died.stderr_tail) == (None, -3, "")
    died = failure(Status.PROCESSOR_DIED, died_text("signal_name=SIGSEGV", "it died", "last words\n"))
    assert (died.signal_name, str(died), died.stderr_tail) == ("SIGSEGV", "it died", "last words\n")
    assert "last words" in died.__notes__[0]
    exited = failure(Status.EXITED, "exit_code=2\nstderr_tail=1\nx")
    assert (exited.exit_code, exited.stderr_tail) == (2, "")


def test_what_cannot_be_pickled_is_shown():
    error = failure(Status.RESULT_NOT_SERIALIZABLE, "<generator>\nTraceback: no")
    assert error.original_repr == "<generator>"
    assert error.remote_traceback == "Traceback: no"


def test_a_stored_result_is_left_where_it_is():
    shelf = Shelf()
    parts = dump_apart(bytes(STORED_BYTES), DEFAULT)
    shelf.objects[b"k"] = parts.cut(0, parts.size)
    (result,) = read_values(Status.STORED, 1, memoryview(pack_stored(parts.size, b"k")), DEFAULT, shelf)
    assert not shelf.fetched
    assert (result.handle.key, result.handle.size) == (b"k", parts.size)
    assert result.restore() == bytes(STORED_BYTES)
    del result
    assert not shelf.objects


def test_a_stored_result_without_a_key_is_a_failure():
    make = read_values(Status.STORED, 1, memoryview(b"short"), DEFAULT, Shelf())
    assert type(make()) is e.DeserializeObjectError
