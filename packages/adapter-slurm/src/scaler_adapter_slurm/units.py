"""From a job to the unit that it is: how far it has come, and why it has ended, in words that help."""

import signal as signals
from typing import Final

from scaler_adapter_core.provider import UnitState
from scaler_adapter_slurm.jobs import Job

_PENDING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"})
_ENDING: Final = frozenset({"COMPLETING", "STAGE_OUT", "SIGNALING"})
_RUNNING: Final = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "RESIZING"})
_IN_ORDER: Final = frozenset({signals.SIGTERM, signals.SIGUSR2})
"""Signals that ask a job to end; before its workers have begun, the shell ends by them."""
_USUAL_WAIT_SECONDS: Final = 5.0
"""Any job waits a little, for no reason or for that of the last one: nobody needs to be told."""
_ENDING_SECONDS: Final = 20.0
"""A job that has not gone after so long waits for its node to be cleaned, or to answer: its workers are no more."""
_CANNOT_WRITE: Final = 53
"""What stands as the signal of a job whose output has no place: not a signal at all."""
_NOT_FOUND: Final = frozenset({126, 127})

ENDS: Final = {
    "TIMEOUT": (UnitState.GONE, "its time limit was reached"),
    "DEADLINE": (UnitState.GONE, "its deadline was reached"),
    "COMPLETED": (UnitState.GONE, "it ended in order"),
    "CANCELLED": (UnitState.FAILED, "somebody has cancelled its job"),
    "NODE_FAIL": (UnitState.FAILED, "its node was lost"),
    "BOOT_FAIL": (UnitState.FAILED, "its node did not start"),
    "LAUNCH_FAILED": (UnitState.FAILED, "its node could not start it"),
    "OUT_OF_MEMORY": (UnitState.FAILED, "it used more memory than its job has (memory_per_worker)"),
    "PREEMPTED": (UnitState.FAILED, "its job had to make room for others (preempted)"),
    "REVOKED": (UnitState.FAILED, "its job was revoked"),
    "FAILED": (UnitState.FAILED, ""),
}


def state_of(job: Job, drain_seconds: float, now: float) -> tuple[UnitState, str]:
    """Return how far a job is, and why. `drain_seconds` before its limit it drains; `now` is the machines' clock.

    Whether the limit was asked for or is that of the partition, Slurm tells when it will end the job. That its workers
    take nothing new does not depend on this machine's clock: the node tells them (`--signal` of sbatch).
    """
    if job.restarts:
        return UnitState.FAILED, f"Slurm has put job {job.job_id} back into its queue"
    if not has_ended(job):
        return _live(job, drain_seconds, now)
    for name, (state, reason) in ENDS.items():
        if name in job.states:
            return _end(job, state, reason)
    return UnitState.FAILED, f"job {job.job_id} is {' '.join(sorted(job.states))}"


def is_waiting(job: Job) -> bool:
    """Whether it has not been started: there is nothing to signal."""
    return bool(job.states & _PENDING)


def has_ended(job: Job) -> bool:
    """Whether nothing of it is left, nor will be."""
    return not job.states & (_PENDING | _ENDING | _RUNNING)


def is_over(job: Job) -> bool:
    """Whether its processes have ended, or are being ended: nobody has to ask it to.

    One that is being signalled runs; one that was put back into the queue while it ended (PENDING, COMPLETING) will.
    """
    return not job.states & (_PENDING | _RUNNING | {"SIGNALING"})


def is_suspended(job: Job) -> bool:
    """Whether Slurm has stopped all its processes, for now."""
    return "SUSPENDED" in job.states


def time_of(job: Job) -> float | None:
    """Return how long a job that runs may do so, by its own time limit or that of its partition; None: not known."""
    is_known = "RUNNING" in job.states and bool(job.start_time and job.end_time)
    return job.end_time - job.start_time if is_known else None


def _live(job: Job, drain_seconds: float, now: float) -> tuple[UnitState, str]:
    if is_waiting(job):
        is_usual = not job.reason or now - job.submit_time < _USUAL_WAIT_SECONDS
        return UnitState.PENDING, "" if is_usual else f"job {job.job_id} waits: {job.reason}"
    if job.states & _ENDING:  # its processes have ended, or do so; how, the next look tells
        is_stuck = job.end_time and now - job.end_time > _ENDING_SECONDS
        return _end(job, UnitState.FAILED, "") if is_stuck else (UnitState.RUNNING, "")
    if job.end_time and job.end_time - now <= drain_seconds:
        return UnitState.DRAINING, f"the time limit of job {job.job_id} is near"
    return UnitState.RUNNING, "" if "RUNNING" in job.states else f"Slurm has stopped job {job.job_id} for now"


def _end(job: Job, state: UnitState, reason: str) -> tuple[UnitState, str]:
    where = f"job {job.job_id} on {job.nodes}" if job.nodes else f"job {job.job_id}"
    if reason:
        return state, f"{where}: {reason}"
    if job.signal in _IN_ORDER:
        return UnitState.GONE, f"{where}: it was asked to end"
    if job.signal == _CANNOT_WRITE:
        return state, f"{where}: its output could not be written, the nodes must have the log folder too"
    if job.exit_code in _NOT_FOUND:
        return state, f"{where}: a command was not found there (exit code {job.exit_code})"
    how = f"signal {_name(job.signal)}" if job.signal else f"exit code {job.exit_code}"
    detail = "" if job.reason == "NonZeroExitCode" or not job.reason else f", {job.reason}"
    return state, f"{where}: ended with {how}{detail}"


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return str(number)
