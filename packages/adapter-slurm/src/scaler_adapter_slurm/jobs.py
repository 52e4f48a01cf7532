"""What `squeue --json` says of a job, in the forms of Slurm 22 (plain values) and of later ones (lists, set or not)."""

import json
from dataclasses import dataclass
from os import WEXITSTATUS, WIFEXITED, WTERMSIG
from typing import cast


@dataclass(frozen=True, slots=True)
class Job:
    """A job that Slurm has, or remembers."""

    job_id: int
    name: str
    user_id: int
    states: frozenset[str]
    """Its state and what goes with it, in Slurm's capital letters."""
    reason: str = ""
    """Why it waits, or how it has failed."""
    exit_code: int = 0
    signal: int = 0
    """What has ended its script, 0 for nothing."""
    submit_time: float = 0.0
    start_time: float = 0.0
    end_time: float = 0.0
    """By the clock of the machines; of a job that runs, its time limit. 0: not known."""
    nodes: str = ""
    comment: str = ""
    restarts: int = 0
    """How often Slurm has put it back into the queue."""


def parse_jobs(text: str) -> list[Job]:
    """Read the answer of `squeue --json`; `ValueError` says why it can't be."""
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    jobs = _fields(answer).get("jobs")
    errors = _items(_fields(answer).get("errors"))
    if errors:  # Slurm 22 ends with exit code 0 and no jobs where its controller is away
        raise ValueError("; ".join(_text(_fields(error).get("description")) or "an error" for error in errors))
    if jobs is None:
        raise ValueError("it has no list of jobs")
    return [_job(_fields(job)) for job in _items(jobs)]


def _job(fields: dict[str, object]) -> Job:
    exit_code, signal = _exit(fields.get("exit_code"))
    return Job(
        job_id=_number(fields.get("job_id")),
        name=_text(fields.get("name")),
        user_id=_number(fields.get("user_id"), -1),
        states=frozenset(_words(fields.get("job_state"))),
        reason="" if fields.get("state_reason") == "None" else _text(fields.get("state_reason")),
        exit_code=exit_code,
        signal=signal,
        submit_time=_number(fields.get("submit_time")),
        start_time=_number(fields.get("start_time")),
        end_time=_number(fields.get("end_time")),
        nodes=_text(fields.get("nodes")),
        comment=_text(fields.get("comment")),
        restarts=_number(fields.get("restart_cnt")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> list[str]:
    return [word for word in _items(value) or [value] if isinstance(word, str)]


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _number(value: object, otherwise: int = 0) -> int:
    """Read a number, or `{"set": true, "infinite": false, "number": 5}`."""
    parts = _fields(value)
    if parts:
        value = parts.get("number") if parts.get("set", True) and not parts.get("infinite") else None
    return int(value) if isinstance(value, int | float) else otherwise


def _exit(value: object) -> tuple[int, int]:
    """Read how a script has ended: exit code and signal, from the status of wait(2) or in parts."""
    parts = _fields(value)
    if "return_code" in parts:
        signal = _fields(parts.get("signal"))
        return _number(parts["return_code"]), _number(signal.get("id", signal.get("signal_id")))
    status = _number(value)
    return (WEXITSTATUS(status), 0) if WIFEXITED(status) else (0, WTERMSIG(status))
