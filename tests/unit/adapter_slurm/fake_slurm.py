"""A Slurm that runs nothing, jobs for tests, and an adapter's configuration."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

from scaler_adapter_core.provider import LaunchOutcome, LaunchResult
from scaler_adapter_slurm.config import SlurmConfig, SlurmWorkerAdapterConfig
from scaler_adapter_slurm.jobs import Job
from scaler_adapter_slurm.provider import SlurmProvider
from scaler_adapter_slurm.submission import Submission
from scaler_protocol.addresses import Address
from scaler_runtime.options import WorkerAdapterConfig

ADDRESS = Address.from_string("tcp://10.0.0.1:8516")
NOW = 1_000_000.0
ACCEPTED = LaunchOutcome(LaunchResult.ACCEPTED)


def configuration(**options):
    return SlurmWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS, max_workers=-1), SlurmConfig(**options))


def job(state="RUNNING", **fields):
    """Return a job that began long ago and has an hour left."""
    usual = {"job_id": 7, "name": "scaler-x-g", "user_id": 0, "start_time": NOW - 100, "end_time": NOW + 3600}
    return Job(**{**usual, "states": frozenset(state.split()), **fields})


class FakeSlurm:
    """`calls` are what was done to jobs; `outcomes` are of the next submissions, `gate` holds them up."""

    def __init__(self):
        self.table = {}
        self.calls = []
        self.submitted = []
        self.outcomes = []
        self.starts_unknown = True
        self.error = None
        self.signal_error = None
        self.looks = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self._ids = itertools.count(1)

    def add(self, name, state="RUNNING", **fields):
        added = job(state, **{"job_id": next(self._ids), "name": name, **fields})
        self.table[added.job_id] = added
        return added.job_id

    def set(self, job_id, **fields):
        self.table[job_id] = replace(self.table[job_id], **fields)

    async def submit(self, arguments, script):
        self.submitted.append((arguments, script))
        self.begun.set()
        await asyncio.sleep(0)  # as any command, it lets others go on meanwhile
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else ACCEPTED
        may_start = outcome.result is LaunchResult.UNKNOWN and self.starts_unknown
        if outcome is ACCEPTED or may_start:
            options = dict(word.removeprefix("--").partition("=")[::2] for word in arguments)
            self.add(options["job-name"], "PENDING", comment=options["comment"], submit_time=NOW)
        return outcome

    async def jobs(self):
        self.looks += 1
        if self.error is not None:
            raise self.error
        return list(self.table.values())

    async def cancel(self, job_ids):
        self._note("cancel", job_ids)

    async def signal_script(self, job_ids, name):
        self._note(name, job_ids)
        if self.signal_error is not None:
            raise self.signal_error

    async def kill(self, job_ids):
        self._note("kill", job_ids)

    def _note(self, what, job_ids):
        if job_ids:
            self.calls.append((what, sorted(job_ids)))


class Stage:
    """A provider on a fake Slurm. `changes` counts what it says."""

    def __init__(self, folder="/nowhere", **options):
        self.slurm = FakeSlurm()
        self.submission = Submission(configuration(**options), Path(folder))
        self.changes = 0
        self.provider = SlurmProvider(
            self.slurm, self.submission, self._on_change, drain_seconds=30.0, poll_seconds=5.0, clock=lambda: NOW
        )

    def _on_change(self):
        self.changes += 1

    def add(self, group_id, state="RUNNING", **fields):
        return self.slurm.add(self.submission.job_name(group_id), state, **fields)

    async def units(self):
        return {unit.group_id: unit for unit in await self.provider.observe()}
