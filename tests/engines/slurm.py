"""What the tests on Slurm share: small jobs, a scheduler with an adapter and a client, what is told to whom."""

import contextlib
import json
import os
import shutil
import time
import warnings

from scaler import Client
from scaler.utility.exceptions import SchedulerWarning
from scaler_adapter_slurm.config import Memory, SlurmConfig, SlurmWorkerAdapterConfig
from scaler_runtime.options import WorkerAdapterConfig, WorkerCapabilities, WorkerConfig
from tests.integration.commands import running, scheduler, wait_until

SMALL = Memory.from_string("100M")
VANILLA = "allocate=even_load; scaling=vanilla(upper=1,cooldown=0.5)"


def slurm_config(address, folder, *, capabilities=None, max_workers=8, death_timeout_seconds=60, **options):
    """Return a configuration of the adapter for jobs that need next to nothing."""
    return SlurmWorkerAdapterConfig(
        WorkerAdapterConfig(address, max_workers=max_workers),
        SlurmConfig(
            **{"memory_per_worker": SMALL, "log_folder": str(folder / "logs"), "poll_interval_seconds": 1, **options}
        ),
        worker_config=WorkerConfig(
            per_worker_capabilities=WorkerCapabilities(capabilities or {}), death_timeout_seconds=death_timeout_seconds
        ),
    )


def adapter_arguments(address, folder, *options):
    """Return the command line of an adapter for such jobs; later options win."""
    small = ("--memory-per-worker", SMALL, "--log-folder", folder / "logs", "--poll-interval-seconds", 1)
    return ("scaler_adapter_slurm", address, "--max-workers", 2, *small, *options)


class Line:
    """A scheduler, an adapter and a client. `warnings` are what the client is told."""

    def __init__(self, command, adapter, client, caught):
        self.scheduler = command
        self.adapter = adapter
        self.client = client
        self._caught = caught

    @property
    def warnings(self):
        return [str(one.message) for one in self._caught if one.category is SchedulerWarning]

    def wait_for_warning(self, part):
        """Wait until the client is told."""
        wait_until(lambda: any(part in text for text in self.warnings), lambda: f"{self.warnings}\n{self.story}")

    @property
    def story(self):
        return f"{self.scheduler.output}\n----\n{self.adapter.output}"


@contextlib.contextmanager
def line(folder, *options, policy=VANILLA, environment=None):
    """Run a scheduler, a Slurm adapter and a client."""
    with (
        warnings.catch_warnings(record=True) as caught,
        scheduler(policy=policy) as (command, address),
        running(*adapter_arguments(address, folder, *options), environment=environment) as adapter,
        Client(address) as client,
    ):
        warnings.simplefilter("always")
        yield Line(command, adapter, client, caught)


def instead_of_sbatch(folder, does):
    """Return an environment where sbatch is a script, in which `sbatch` is the real one."""
    real = shutil.which("sbatch")
    folder = folder / "instead"
    folder.mkdir()
    (folder / "sbatch").write_text(f'#!/bin/bash\nsbatch() {{ "{real}" "$@"; }}\n{does}\n')
    (folder / "sbatch").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def jobs(cluster):
    """Return the jobs that have not ended, by id."""
    answer = json.loads("\n".join(cluster.run("squeue", "--json")))
    live = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}
    return {job["job_id"]: job for job in answer["jobs"] if job["job_state"] in live}


def wait_for_jobs(cluster, count, state="RUNNING"):
    """Wait until so many jobs are in a state, and return their ids."""

    def reached():
        found = [job_id for job_id, job in jobs(cluster).items() if job["job_state"] == state]
        return sorted(found) if len(found) == count else None

    return wait_until(reached, lambda: f"{jobs(cluster)}")


def pid_of(_):
    return os.getpid()


def begin_and_end(folder, number=0):
    """Say that a task has begun, and end when it is told to."""
    (folder / f"began-{number}-{os.getpid()}").touch()
    wait_until((folder / "end").exists)
    return number


def began(folder):
    """Return the pids in which tasks have begun."""
    return [int(file.name.rpartition("-")[2]) for file in folder.glob("began-*")]


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()
