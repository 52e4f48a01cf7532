"""Slurm as an engine: a worker group is a job under the group's id. What Slurm shows is the truth.

A job that sbatch may have submitted is looked for before it is submitted again. After a launch or a stop Slurm is
asked sooner than at the next poll.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from scaler_adapter_core.provider import (
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    OnChange,
    ProviderError,
    TerminateMode,
    Unit,
    UnitState,
)
from scaler_adapter_slurm.config import WARNING_SLACK_SECONDS
from scaler_adapter_slurm.endings import Endings
from scaler_adapter_slurm.jobs import Job
from scaler_adapter_slurm.submission import Submission
from scaler_adapter_slurm.units import has_ended, is_over, is_suspended, is_waiting, state_of, time_of
from scaler_protocol.identifiers import worker_ids_of

SUBMISSIONS_AT_ONCE: Final = 4
FIRST_LOOK_SECONDS: Final = 0.1
_YOUNG_SECONDS: Final = 3.0
"""A script that runs for less may not be there yet, and its node drops the signal without a word."""
_USABLE = re.compile(r"[\w.-]{1,200}\Z")
_log = logging.getLogger(__name__)


class Commands(Protocol):
    """What is needed of `Slurm`."""

    async def submit(self, arguments: Sequence[str], script: str) -> LaunchOutcome: ...
    async def jobs(self) -> list[Job]: ...
    async def cancel(self, job_ids: Sequence[int]) -> None: ...
    async def signal_script(self, job_ids: Sequence[int], name: str) -> None: ...
    async def kill(self, job_ids: Sequence[int]) -> None: ...


class SlurmProvider:
    """See the module. `poll_seconds` is how often the adapter looks anyway; `clock` is that of the machines."""

    def __init__(
        self,
        slurm: Commands,
        submission: Submission,
        on_change: OnChange,
        *,
        drain_seconds: float,
        poll_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._slurm = slurm
        self._submission = submission
        self._on_change = on_change
        self._drain_seconds = drain_seconds
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._endings = Endings(submission)
        self._jobs: dict[str, Job] = {}  # of the last look, by group
        self._submitting: dict[str, asyncio.Task[LaunchOutcome]] = {}
        self._doubtful: set[str] = set()  # groups that may be there without having been seen
        self._asked: set[str] = set()  # groups that were asked to end
        self._has_warned = False
        self._places = asyncio.Semaphore(SUBMISSIONS_AT_ONCE)
        self._look_seconds = FIRST_LOOK_SECONDS
        self._look: asyncio.TimerHandle | None = None

    # ---- the interface

    async def launch(self, specs: Sequence[LaunchSpec]) -> list[LaunchOutcome]:
        """See `Provider`. A submission goes on where the call is cut off: its outcome is known to the next one."""
        if any(spec.group_id in self._doubtful for spec in specs):
            await self._list()
        failed: list[LaunchOutcome] = []
        outcomes = await asyncio.gather(*(self._launch(spec, failed) for spec in specs))
        self._look_soon()
        return outcomes

    async def observe(self) -> list[Unit]:
        """See `Provider`. Ended jobs are shown as long as Slurm remembers them, usually five minutes."""
        extra = await self._list()
        if extra:
            await self._cancel_extra(extra)
        await self._endings.read(job for group_id, job in self._jobs.items() if group_id not in self._asked)
        units = [self._unit(group_id, job) for group_id, job in self._jobs.items()]
        self._warn_of_short_jobs()
        self._look_again(units)
        return units

    async def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """See `Provider`. A script is asked by SIGTERM, and lets its workers finish; a job without one is cancelled.

        Cancelling alone would have Slurm send SIGTERM to each of a job's processes.
        """
        self._asked.update(group_ids)
        for submitting in [self._submitting[group_id] for group_id in group_ids if group_id in self._submitting]:
            await asyncio.wait([submitting])
        await self._list()
        living = self._living(group_ids)
        self._look_soon()
        try:
            await self._end([self._jobs[group_id] for group_id in living], mode)
        except ProviderError:
            # scancel fails, too, where one of them has ended just now, and the others were asked all the same: a
            # second time would cut off what they finish.
            await self._list()
            if len(self._living(living)) == len(living):
                raise

    async def diagnose(self, group_id: str) -> str:
        """See `Provider`: what Slurm says of the job, and the end of its output."""
        job = self._jobs.get(group_id)
        said = await self._endings.last_words(group_id)
        if job is None:
            return said
        reason = state_of(job, self._drain_seconds, self._clock())[1]
        return f"{reason}: {said}" if reason and said else reason or said

    async def close(self) -> None:
        """Let go of what is under way. Jobs go on."""
        if self._look is not None:
            self._look.cancel()
        self._endings.close()
        submitting = list(self._submitting.values())
        for task in submitting:
            task.cancel()
        if submitting:
            await asyncio.wait(submitting)

    # ---- ends

    def _living(self, group_ids: Iterable[str]) -> list[str]:
        """Return the groups whose jobs have to be asked to end."""
        return [group_id for group_id in group_ids if group_id in self._jobs and not is_over(self._jobs[group_id])]

    async def _end(self, jobs: Sequence[Job], mode: TerminateMode) -> None:
        """Ask all of them, also where that fails for some."""
        is_kill = mode is TerminateMode.KILL
        # For a suspended job scancel tries for minutes to send a signal, unless that is SIGKILL.
        hearing = [job for job in jobs if self._is_there(job) and (is_kill or not is_suspended(job))]
        ask = self._slurm.kill(_ids(hearing)) if is_kill else self._slurm.signal_script(_ids(hearing), "TERM")
        cancel = self._slurm.cancel(_ids(job for job in jobs if job not in hearing))
        for failure in await asyncio.gather(ask, cancel, return_exceptions=True):
            if failure is not None:
                raise failure

    def _is_there(self, job: Job) -> bool:
        """Whether a job's script can be signalled.

        Compares the clock of this machine with that of the controller, which munge keeps within minutes of each other.
        The difference need not be known: if this one is ahead, a signal may be lost on a job that has only just
        begun, and SIGKILL follows after the grace; if it is behind, a young job is cancelled where it could have been
        asked, and what its workers run begins again elsewhere. Nothing else that Slurm tells says how old a script is.
        """
        return not is_waiting(job) and self._clock() - job.start_time >= _YOUNG_SECONDS

    # ---- submissions

    async def _launch(self, spec: LaunchSpec, failed: list[LaunchOutcome]) -> LaunchOutcome:
        group_id = spec.group_id
        if not _USABLE.match(group_id):
            return LaunchOutcome(LaunchResult.INVALID, f"{group_id!r} cannot be part of a job's name")
        if group_id in self._submitting:  # an earlier call, which was cut off
            outcome = await asyncio.shield(self._submitting[group_id])
            if outcome.result is LaunchResult.ACCEPTED:
                return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
        if group_id in self._jobs or group_id in self._asked:
            return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
        task = asyncio.ensure_future(self._submit(spec, failed))
        self._submitting[group_id] = task
        task.add_done_callback(lambda _task: self._submitting.pop(group_id, None))
        return await asyncio.shield(task)

    async def _submit(self, spec: LaunchSpec, failed: list[LaunchOutcome]) -> LaunchOutcome:
        async with self._places:
            if failed:  # what stands in the way of one stands in the way of all
                return failed[0]
            self._doubtful.add(spec.group_id)
            outcome = await self._slurm.submit(self._submission.arguments(spec), self._submission.script(spec))
        if outcome.result not in {LaunchResult.ACCEPTED, LaunchResult.UNKNOWN}:
            self._doubtful.discard(spec.group_id)
            failed.append(outcome)
        elif outcome.result is LaunchResult.UNKNOWN:
            failed.append(LaunchOutcome(LaunchResult.UNAVAILABLE, outcome.reason))
        return outcome

    # ---- what Slurm shows

    async def _list(self) -> list[Job]:
        """Take in all jobs of this adapter; return those that should not be there."""
        jobs: dict[str, Job] = {}
        extra: list[Job] = []
        for job in sorted(await self._slurm.jobs(), key=lambda job: (has_ended(job), is_waiting(job), job.job_id)):
            group_id = self._submission.group_of(job.name)
            if not group_id:
                continue
            if group_id in jobs:
                extra.append(job)
                continue
            jobs[group_id] = job
            if job.restarts:
                extra.append(job)
        self._jobs = jobs
        self._doubtful.difference_update(jobs)
        self._asked.intersection_update({*jobs, *self._submitting})
        return [job for job in extra if not has_ended(job)]

    async def _cancel_extra(self, extra: Iterable[Job]) -> None:
        ids = _ids(extra)
        _log.warning("cancelling jobs that are there a second time, or were put back into the queue: %s", ids)
        try:
            await self._slurm.cancel(ids)
        except ProviderError as error:
            _log.warning("could not cancel them: %s", error)

    def _warn_of_short_jobs(self) -> None:
        """Say once that jobs are hardly begun when they leave: without a time limit of ours, Slurm has set one."""
        least = self._drain_seconds + WARNING_SLACK_SECONDS
        for job in self._jobs.values():
            seconds = time_of(job)
            if not self._has_warned and seconds is not None and seconds <= least:
                self._has_warned = True
                _log.warning(
                    "job %d has %g seconds, and its workers may leave %g seconds before that: "
                    "give a longer --time-limit, or a smaller --drain-seconds",
                    job.job_id,
                    seconds,
                    least,
                )

    def _unit(self, group_id: str, job: Job) -> Unit:
        contents = self._submission.contents(job.comment)
        state, reason = state_of(job, self._drain_seconds, self._clock())
        if state is UnitState.FAILED and group_id in self._asked:
            state, reason = (UnitState.GONE, "stopped") if has_ended(job) else (UnitState.STOPPING, reason)
        if state is UnitState.FAILED:
            reason = self._endings.explain(group_id, reason)
        worker_ids = worker_ids_of(group_id, contents.name, contents.workers)
        return Unit(group_id, state, reason, worker_ids, contents.capabilities)

    # ---- looking sooner than at the next poll

    def _look_soon(self) -> None:
        self._look_seconds = FIRST_LOOK_SECONDS
        self._look_later()

    def _look_again(self, units: Sequence[Unit]) -> None:
        if any(self._is_moving(unit) for unit in units):
            self._look_seconds *= 2
            self._look_later()

    def _is_moving(self, unit: Unit) -> bool:
        """Whether something will be new soon."""
        is_leaving = unit.group_id in self._asked and not has_ended(self._jobs[unit.group_id])
        return is_leaving or unit.state in {UnitState.PENDING, UnitState.STOPPING}

    def _look_later(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._look_seconds < self._poll_seconds:
            self._look = asyncio.get_running_loop().call_later(self._look_seconds, self._on_change)


def _ids(jobs: Iterable[Job]) -> list[int]:
    return [job.job_id for job in jobs]
