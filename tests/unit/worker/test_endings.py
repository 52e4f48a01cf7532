"""What the end of a process means."""

import signal

import pytest

from scaler_worker.endings import CANCELLED, PLANNED, TIMEOUT, ProcessFacts, judge, signal_name
from scaler_worker.record import Running

TASK = Running(7, 5)
OTHER = Running(7, 4)


def facts(**changes):
    return ProcessFacts(
        **{
            "worker_id": "W",
            "pid": 123,
            "exit_code": None,
            "signal": None,
            "running": None,
            "asked": None,
            "asked_for": None,
            "ready_seconds": 10.0,
            "failure": "",
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("what", "cause", "code", "replaced"),
    [
        ({"exit_code": 3, "running": TASK}, "exit", 3, True),
        ({"exit_code": 0, "running": TASK}, "exit", 0, True),
        ({"exit_code": 0}, "exit", 0, False),
        ({"exit_code": 1, "ready_seconds": None}, "exit", 1, False),
        ({"exit_code": 1, "ready_seconds": None, "running": TASK}, "exit", 1, False),
        ({"signal": signal.SIGSEGV, "running": TASK}, "signal", 11, True),
        ({"signal": signal.SIGSEGV}, "signal", 11, True),
        ({"signal": signal.SIGSEGV, "ready_seconds": 0.1}, "signal", 11, False),
        ({"signal": signal.SIGSEGV, "ready_seconds": 0.1, "running": TASK}, "signal", 11, True),
        ({"signal": signal.SIGSEGV, "ready_seconds": None}, "signal", 11, False),
        ({"signal": signal.SIGKILL, "running": TASK}, "signal", 9, False),
        ({"signal": signal.SIGTERM, "running": TASK}, "signal", 15, False),
        ({"signal": signal.SIGTERM, "running": TASK, "asked": CANCELLED, "asked_for": TASK}, "cancelled", 15, True),
        ({"signal": signal.SIGKILL, "running": TASK, "asked": TIMEOUT, "asked_for": TASK}, "timeout", 9, True),
        ({"signal": signal.SIGTERM, "running": TASK, "asked": PLANNED}, "planned", 15, False),
        ({"signal": signal.SIGKILL, "running": TASK, "asked": CANCELLED, "asked_for": OTHER}, "planned", 9, True),
        ({"signal": signal.SIGTERM, "asked": TIMEOUT, "asked_for": TASK}, "planned", 15, True),
    ],
)
def test_causes(what, cause, code, replaced):
    ending = judge(facts(**what))
    assert (ending.cause, ending.code, ending.replaced) == (cause, code, replaced)


def test_details_are_one_line():
    def detail(**what):
        return judge(facts(**what)).detail

    crash = detail(signal=signal.SIGSEGV, running=TASK, memory="3 MiB")
    assert crash == "process 123 of worker W died of SIGSEGV while running task 5 of slice 7"
    assert detail(signal=signal.SIGKILL, memory="3 MiB") == "process 123 of worker W died of SIGKILL (3 MiB)"
    assert (
        detail(exit_code=1, ready_seconds=None, failure="no module")
        == "process 123 of worker W exited with code 1 before it was ready (no module)"
    )
    assert "limit of 3 seconds" in detail(signal=15, running=TASK, asked=TIMEOUT, asked_for=TASK, timeout_seconds=3)
    assert "task 5 of slice 7 was cancelled" in detail(signal=15, running=TASK, asked=CANCELLED, asked_for=TASK)
    assert detail(signal=15, asked=PLANNED) == "process 123 of worker W was stopped"
    assert detail(exit_code=0, asked=PLANNED, failure="enough") == "process 123 of worker W was stopped: enough"


def test_unknown_signals_have_a_name_too():
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(200) == "signal 200"
