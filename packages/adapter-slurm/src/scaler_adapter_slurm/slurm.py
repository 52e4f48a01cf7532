"""Slurm's commands as coroutines, each with a limit of time: a controller that is away lets them wait."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scaler_adapter_core.provider import LaunchOutcome, LaunchResult, ProviderError
from scaler_adapter_slurm.jobs import Job, parse_jobs
from scaler_adapter_slurm.refusals import in_one_line, outcome_of

SUBMIT_SECONDS: Final = 30.0
ASK_SECONDS: Final = 20.0
_COMMANDS: Final = ("sbatch", "squeue", "scancel")
_KEPT: Final = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_TIME_FORMAT")
_MOST_IDS: Final = 500
"""In one call of scancel."""


@dataclass(frozen=True, slots=True)
class Done:
    """What has become of a command. `code` is None if it took too long and was ended."""

    code: int | None
    output: str
    errors: str


class Slurm:
    """See the module."""

    def __init__(self) -> None:
        """Find the commands; `ProviderError` where they are missing."""
        missing = [name for name in _COMMANDS if shutil.which(name) is None]
        if missing:
            raise ProviderError(f"there is no {missing[0]} here: this has to run where jobs can be submitted to Slurm")
        self._environment = clean(os.environ)

    async def submit(self, arguments: Sequence[str], script: str) -> LaunchOutcome:
        """Submit a job."""
        done = await self._run(("sbatch", *arguments), SUBMIT_SECONDS, script)
        if done.code is None:
            return LaunchOutcome(LaunchResult.UNKNOWN, f"sbatch has not answered within {SUBMIT_SECONDS:g} seconds")
        return LaunchOutcome(LaunchResult.ACCEPTED) if done.code == 0 else outcome_of(done.errors)

    async def jobs(self) -> list[Job]:
        """Return this user's jobs, also those that have ended and are remembered."""
        # Slurm 22 prints all jobs of the cluster with --json, whatever else is said.
        done = await self._run(("squeue", "--json", "--me", "--states=all"), ASK_SECONDS)
        self._expect_success("squeue", done)
        try:
            return [job for job in parse_jobs(done.output) if job.user_id == os.getuid()]
        except ValueError as error:
            said = f" ({in_one_line(done.errors)})" if done.errors.strip() else ""
            raise ProviderError(f"squeue --json has given no list of jobs: {error}{said}") from None

    async def cancel(self, job_ids: Sequence[int]) -> None:
        """End jobs: SIGTERM to all their processes, and SIGKILL after the cluster's KillWait."""
        await self._scancel(job_ids)

    async def signal_script(self, job_ids: Sequence[int], name: str) -> None:
        """Send a signal to the script of jobs, and to it alone."""
        await self._scancel(job_ids, "--batch", f"--signal={name}")

    async def kill(self, job_ids: Sequence[int]) -> None:
        """End jobs at once."""
        with contextlib.suppress(ProviderError):  # also where one of them has just ended; what follows tells the rest
            await self._scancel(job_ids, "--full", "--signal=KILL")
        await self._scancel(job_ids)

    async def _scancel(self, job_ids: Sequence[int], *options: str) -> None:
        parts = [job_ids[start : start + _MOST_IDS] for start in range(0, len(job_ids), _MOST_IDS)]
        all_done = [await self._run(("scancel", "--quiet", *options, *map(str, ids)), ASK_SECONDS) for ids in parts]
        for done in all_done:  # only now: that one failed says nothing of the others
            self._expect_success("scancel", done)

    def _expect_success(self, name: str, done: Done) -> None:
        if done.code is None:
            raise ProviderError(f"{name} has not answered within {ASK_SECONDS:g} seconds")
        if done.code != 0:
            raise ProviderError(in_one_line(done.errors) or f"{name} has ended with exit code {done.code}")

    async def _run(self, command: Sequence[str], seconds: float, text: str = "") -> Done:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the adapter
            )
        except OSError as error:
            raise ProviderError(f"cannot start {command[0]}: {error}") from None
        try:
            async with asyncio.timeout(seconds):
                output, errors = await process.communicate(text.encode())
        except TimeoutError:
            return Done(None, "", "")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Done(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for Slurm's commands: in a job itself, an adapter must not hand that job's terms on."""
    of_slurm = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_")
    return {name: value for name, value in environment.items() if not name.startswith(of_slurm) or name in _KEPT}
