"""What is handed to sbatch, and what is read from it again."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scaler_adapter_core.provider import LaunchSpec
from scaler_adapter_slurm.config import Memory, TimeLimit
from scaler_adapter_slurm.submission import WORKER_NAME, Contents, Submission
from scaler_protocol.addresses import Address
from scaler_runtime.options import WorkerAdapterConfig, WorkerCapabilities, WorkerConfig
from tests.unit.adapter_slurm.fake_slurm import configuration

SPEC = LaunchSpec("abc-1", {"gpu": 2}, "alice")
FOLDER = Path("/shared/100%/logs")


def submission(**options):
    return Submission(configuration(**options), FOLDER)


def test_a_job_carries_its_group_and_what_is_in_it():
    one = submission(workers_per_group=3)
    options = dict(word.removeprefix("--").partition("=")[::2] for word in one.arguments(SPEC))

    assert one.group_of(options["job-name"]) == "abc-1"
    assert one.contents(options["comment"]) == Contents("alice", 3, {"gpu": 2})


def test_a_job_of_somebody_else_is_no_group():
    assert submission().group_of("scaler-00000000-abc-1") == ""
    assert submission().group_of("") == ""


@pytest.mark.parametrize("options", [{"partition": "gpu"}, {"job_name": "mine"}])
def test_adapters_for_other_jobs_do_not_find_them(options):
    assert submission(**options).group_of(submission().job_name("abc-1")) == ""


def test_adapters_of_another_scheduler_do_not_find_them():
    other = WorkerAdapterConfig(Address.from_string("tcp://10.0.0.2:8516"))
    theirs = Submission(replace(configuration(), worker_adapter_config=other), FOLDER)

    assert theirs.group_of(submission().job_name("abc-1")) == ""


@pytest.mark.parametrize("comment", ["", "paid by project 7", "[]", '{"name": 5, "workers": 1, "capabilities": {}}'])
def test_a_comment_that_was_replaced_means_what_the_options_say(comment):
    workers = WorkerConfig(per_worker_capabilities=WorkerCapabilities({"fast": -1}))
    config = replace(configuration(workers_per_group=2), worker_config=workers)

    assert Submission(config, FOLDER).contents(comment) == Contents(WORKER_NAME, 2, {"fast": -1})


def test_a_job_never_begins_again_and_never_takes_a_whole_node():
    arguments = submission(
        workers_per_group=4, cpus_per_worker=2, memory_per_worker=Memory.from_string("1G")
    ).arguments(SPEC)

    assert {"--no-requeue", "--mem=4G", "--cpus-per-task=8", "--nodes=1", "--ntasks=1"} <= set(arguments)


def test_the_options_of_the_user_come_along():
    arguments = submission(
        partition="gpu",
        account="physics",
        qos="night",
        time_limit=TimeLimit(7200),
        drain_seconds=45,
        sbatch_options=("gres=gpu:1", "--exclusive"),
    ).arguments(SPEC)

    assert {"--partition=gpu", "--account=physics", "--qos=night", "--time=0-02:00:00"} <= set(arguments)
    assert "--signal=B:USR2@45" in arguments
    assert arguments[-2:] == ["--gres=gpu:1", "--exclusive"]


def test_what_was_not_asked_for_is_left_to_slurm():
    names = {word.partition("=")[0] for word in submission().arguments(SPEC)}

    assert names.isdisjoint({"--partition", "--account", "--qos", "--time"})


def test_the_output_of_a_job_has_its_place():
    assert "--output=/shared/100%%/logs/abc-1.log" in submission().arguments(SPEC)
    assert submission().log("abc-1") == FOLDER / "abc-1.log"


def test_the_python_is_that_of_the_adapter_unless_the_environment_is_set_up():
    assert submission().python == sys.executable
    assert submission(modules=("python",)).python == "python3"
    assert submission(virtual_environment="/env").python == "python3"
    assert submission(modules=("python",), python="/opt/python").python == "/opt/python"


BASH = shutil.which("bash") or pytest.skip("there is no bash", allow_module_level=True)


def ran(tmp_path, environment=None, **options):
    """Run a job's script; return what the Python of the job was given, and the whole of what it did."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "args $@"\necho "level ${SCALER_LOGGING_LEVEL-unset} name ${SCALER_NAME-unset}"\n'
    )
    python.chmod(0o755)
    script = submission(python=str(python), **options).script(SPEC)
    return subprocess.run(
        [BASH],
        input=script,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_script_ends_as_the_program_of_the_group(tmp_path):
    first, second = ran(tmp_path, {"SCALER_LOGGING_LEVEL": "DEBUG", "SCALER_NAME": "bob"}).stdout.splitlines()

    assert first.startswith("args -m scaler_worker.group tcp://10.0.0.1:8516 abc-1 --name=alice --num-of-workers=1 ")
    assert "--death-timeout-seconds=300" in first
    assert second == "level unset name unset"


def test_a_script_sets_up_the_environment_in_order(tmp_path):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "activate").write_text("echo activated\n")
    (tmp_path / "a prologue").write_text("echo prologue\n")
    module = {"BASH_FUNC_module%%": '() { echo "module $@"; }'}

    lines = ran(
        tmp_path,
        module,
        modules=("gcc", "cuda/12"),
        virtual_environment=str(tmp_path / "env"),
        prologue=str(tmp_path / "a prologue"),
    ).stdout.splitlines()

    assert lines[:3] == ["module load gcc cuda/12", "activated", "prologue"]
    assert lines[3].startswith("args -m")


@pytest.mark.parametrize("options", [{"prologue": "/nowhere/prologue"}, {"virtual_environment": "/nowhere/env"}])
def test_a_script_ends_where_its_environment_is_missing(options, tmp_path):
    done = ran(tmp_path, **options)

    assert done.returncode != 0
    assert "/nowhere" in done.stderr
    assert done.stdout == ""


def test_a_script_that_slurm_begins_again_does_nothing(tmp_path):
    done = ran(tmp_path, {"SLURM_RESTART_COUNT": "1"})

    assert (done.returncode, done.stdout) == (75, "")
