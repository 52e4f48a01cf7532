"""Exceptions travel: a task may raise what its own client raised."""

import inspect
import pickle

import pytest

from scaler_client import exceptions

KINDS = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if kind.__module__ == exceptions.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_they_can_be_pickled(kind):
    error = pickle.loads(pickle.dumps(kind("what happened")))
    assert type(error) is kind
    assert str(error) == "what happened"


def test_attributes_survive():
    error = pickle.loads(pickle.dumps(exceptions.ProcessorDiedError("x", signal_name="SIGSEGV", stderr_tail="last")))
    assert (error.exit_code, error.signal_name, error.stderr_tail) == (None, "SIGSEGV", "last")
    error = exceptions.ResultNotSerializableError("x", original_repr="<x>", remote_traceback="tb")
    error = pickle.loads(pickle.dumps(error))
    assert (error.original_repr, error.remote_traceback) == ("<x>", "tb")


def test_the_family_is_as_promised():
    assert issubclass(exceptions.TaskExitedError, exceptions.ProcessorDiedError)
    assert issubclass(exceptions.TaskTimeoutError, TimeoutError)
    assert issubclass(exceptions.ResultNotSerializableError, (exceptions.TaskSerializationError))
    assert issubclass(exceptions.ResultNotSerializableError, TypeError)
    assert issubclass(exceptions.TaskExceptionNotSerializableError, exceptions.TaskSerializationError)
    assert issubclass(exceptions.SchedulerWarning, UserWarning)
