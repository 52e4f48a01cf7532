"""Why jobs have failed, by the end of their output: read in a thread, since the files lie on a network.

Not in one of the loop's own threads: these are waited for at the end, and a file system that hangs must not keep the
adapter from stopping in time.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from scaler_adapter_core.engine_thread import EngineThread
from scaler_adapter_core.group_program import MISSING_MODULE
from scaler_adapter_slurm.jobs import Job
from scaler_adapter_slurm.submission import Submission
from scaler_adapter_slurm.units import has_ended

READ_SECONDS: Final = 3.0
_TAIL_BYTES: Final = 4096
_MOST_LINES: Final = 3
_MOST_CHARACTERS: Final = 600
_log = logging.getLogger(__name__)


class Endings:
    """See the module. Each output is read once, when its job has failed, and then when somebody asks."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._words: dict[str, str] = {}
        self._thread = EngineThread("endings")

    async def read(self, jobs: Iterable[Job]) -> None:
        """Read the outputs of jobs that have failed since the last time; forget those that Slurm has forgotten."""
        groups = {
            self._submission.group_of(job.name): job for job in jobs if has_ended(job) and "COMPLETED" not in job.states
        }
        fresh = [group_id for group_id in groups if group_id not in self._words]
        words = await asyncio.gather(*map(self.last_words, fresh))  # their limits of time run side by side
        known = {**self._words, **dict(zip(fresh, words, strict=True))}
        self._words = {group_id: known[group_id] for group_id in groups}

    def explain(self, group_id: str, reason: str) -> str:
        """Add to a reason what the job has said last."""
        said = self._words.get(group_id, "")
        return f"{reason}: {said}" if said else reason

    async def last_words(self, group_id: str) -> str:
        """Return the end of a job's output in one line, and what to do where scaler-worker is missing."""
        path = self._submission.log(group_id)
        try:
            async with asyncio.timeout(READ_SECONDS):
                text = await self._thread.call(partial(_tail, path))
        except (OSError, TimeoutError) as error:
            _log.debug("cannot read %s: %s", path, error)
            return ""
        if MISSING_MODULE in text:
            return f"{self._submission.python} has no scaler-worker there: install it, or name another with --python"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(lines[-_MOST_LINES:])[-_MOST_CHARACTERS:]

    def close(self) -> None:
        """Read nothing more. May be repeated."""
        self._thread.close()


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        return file.read().decode(errors="replace")
