"""What tasks without a result are answered with."""

import pickle

import pytest

from scaler_client.serializer import load_failure
from scaler_protocol.batch import Status
from scaler_worker import failures
from scaler_worker.failures import failure, not_serializable, result_answer


def raised(error):
    with pytest.raises(type(error)) as caught:
        throw(error)
    return caught.value


def throw(error):
    raise error


class Unpicklable(Exception):
    def __init__(self, reason):
        super().__init__(reason)
        self.lock = open  # fine
        self.generator = (n for n in ())


class BadRepr:
    def __repr__(self):
        raise RuntimeError("no")


def test_an_exception_travels_with_its_traceback():
    status, payload = failure(raised(ValueError("bad")), frozenset())
    error = load_failure(payload)
    assert status == Status.EXCEPTION
    assert isinstance(error, ValueError)
    assert "test_failures.py" in str(error.__cause__)


def test_own_frames_are_left_out():
    _, payload = failure(raised(ValueError("bad")), frozenset({__file__}))
    assert "test_failures.py" not in str(load_failure(payload).__cause__)


def test_exits_have_a_code():
    def text(error):
        status, payload = failure(raised(error), frozenset())
        assert status == Status.EXITED
        return payload.decode().split("\n", 1)

    assert text(SystemExit(3)) == ["exit_code=3", "the task was left by sys.exit(3)"]
    assert text(SystemExit())[0] == "exit_code=0"
    assert text(SystemExit("reason")) == ["exit_code=1", "the task was left by sys.exit: reason"]
    assert text(KeyboardInterrupt())[0] == "exit_code=130"


def test_an_exception_that_cannot_be_pickled_is_shown():
    status, payload = failure(raised(Unpicklable("so it is")), frozenset())
    shown, _, remote = payload.decode().partition("\n")
    assert status == Status.EXCEPTION_NOT_SERIALIZABLE
    assert shown == "Unpicklable('so it is')"
    assert "test_failures.py" in remote


def test_a_result_that_cannot_be_pickled_is_shown():
    try:
        pickle.dumps(n for n in ())
    except TypeError:
        status, payload = not_serializable({"a": (n for n in ()), "b": "line\nbreak"})
        shown, _, remote = payload.decode().partition("\n")
    assert status == Status.RESULT_NOT_SERIALIZABLE
    assert shown.startswith("{'a': <generator")
    assert "cannot pickle" in remote
    try:
        throw(TypeError())
    except TypeError:
        assert not_serializable(BadRepr())[1].startswith(b"<BadRepr")


def test_too_large_results_are_named(monkeypatch):
    monkeypatch.setattr(failures, "MAX_INLINE_BYTES", 10)
    assert result_answer(b"x" * 10)[0] == Status.VALUE
    status, payload = result_answer(b"x" * 11)
    assert status == Status.TOO_LARGE
    assert b"11 bytes" in payload
    status, payload = failure(raised(ValueError("long enough")), frozenset())
    assert status == Status.TOO_LARGE
    assert b"exception" in payload
