"""What the end of a worker's process means: its cause, whether a new process takes its place, one line for people."""

import signal
from dataclasses import dataclass
from typing import Final

from scaler_protocol.messages import OWN_DOING
from scaler_worker.record import Running

PLANNED: Final = "planned"
CANCELLED: Final = "cancelled"
TIMEOUT: Final = "timeout"
EXIT: Final = "exit"
SIGNAL: Final = "signal"

_FOR_A_TASK = frozenset({CANCELLED, TIMEOUT})
_QUICK_SECONDS = 1.0
"""A process that crashes without a task so soon after its start would crash again."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What is known of a process when it ends."""

    worker_id: str
    pid: int
    exit_code: int | None
    signal: int | None
    running: Running | None
    asked: str | None
    """Why it was to end: PLANNED, CANCELLED or TIMEOUT."""
    asked_for: Running | None
    """The task on whose account it was to end."""
    ready_seconds: float | None
    """How long it was registered; None: never."""
    failure: str
    """What it said itself before it ended."""
    memory: str = ""
    """What is known of its memory."""
    timeout_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """The verdict. `detail` is one readable line, `code` an exit code or the number of a signal."""

    cause: str
    code: int
    replaced: bool
    detail: str


def judge(facts: ProcessFacts) -> Ending:
    """Return what the end of a process means."""
    number = facts.signal
    code = (facts.exit_code or 0) if number is None else number
    cause = facts.asked or (EXIT if number is None else SIGNAL)
    if cause in _FOR_A_TASK and facts.running != facts.asked_for:  # it ended in time; another must not suffer for it
        return Ending(PLANNED, code, replaced=True, detail=_detail(facts))
    return Ending(cause, code, _is_replaced(facts, cause), _detail(facts))


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _is_replaced(facts: ProcessFacts, cause: str) -> bool:
    """Whether its task, a cancel or a timeout ended it. Killed from outside, or unable to start, it is lost."""
    if cause in _FOR_A_TASK:
        return True
    if cause == PLANNED or facts.ready_seconds is None:
        return False
    if facts.signal is None:
        return facts.running is not None
    return facts.signal in OWN_DOING and (facts.running is not None or facts.ready_seconds >= _QUICK_SECONDS)


def _detail(facts: ProcessFacts) -> str:
    process = f"process {facts.pid} of worker {facts.worker_id}"
    task = "" if facts.running is None else f"task {facts.running.task} of slice {facts.running.slice_id}"
    about = facts.asked_for
    asked_for = "its task" if about is None else f"task {about.task} of slice {about.slice_id}"
    if facts.asked == CANCELLED:
        return f"{process} was ended: {asked_for} was cancelled"
    if facts.asked == TIMEOUT:
        return f"{asked_for} ran longer than the limit of {facts.timeout_seconds:g} seconds: {process} was ended"
    if facts.asked == PLANNED:
        return f"{process} was stopped{f': {facts.failure}' if facts.failure else ''}"
    number = facts.signal
    how = f"exited with code {facts.exit_code or 0}" if number is None else f"died of {signal_name(number)}"
    when = f" while running {task}" if task else ""
    if facts.ready_seconds is None:
        when = f"{when} before it was ready"
    more = "; ".join(part for part in (facts.failure, facts.memory if facts.signal == signal.SIGKILL else "") if part)
    return f"{process} {how}{when}{f' ({more})' if more else ''}"
