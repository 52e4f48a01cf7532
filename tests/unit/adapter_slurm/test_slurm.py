"""Slurm's commands, played by scripts that answer as told: what no real cluster does when it is asked to."""

import asyncio
import json
import os

import pytest

from scaler_adapter_core.provider import LaunchResult, ProviderError
from scaler_adapter_slurm import slurm as module
from scaler_adapter_slurm.slurm import Slurm, clean

PLAYED = """#!/bin/sh
printf '%s\\n' "$0 $*" >> {folder}/calls
cat > {folder}/$(basename $0).input
{does}
"""


class Played:
    """A folder of commands on the path. What each does is shell."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel"):
            self.set(name, "exit 0")

    def set(self, name, does):
        file = self.folder / name
        file.write_text(PLAYED.format(folder=self.folder, does=does))
        file.chmod(0o755)

    @property
    def calls(self):
        return [line.removeprefix(f"{self.folder}/") for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def played(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Played(tmp_path)


def test_a_job_is_submitted_with_its_script(played):
    played.set("sbatch", "echo 17")
    outcome = asyncio.run(Slurm().submit(["--parsable", "--mem=1G"], "#!/bin/bash\n"))

    assert outcome.result is LaunchResult.ACCEPTED
    assert played.calls == ["sbatch --parsable --mem=1G"]
    assert (played.folder / "sbatch.input").read_text() == "#!/bin/bash\n"


def test_a_refusal_is_said_in_slurms_words(played):
    played.set("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1")
    outcome = asyncio.run(Slurm().submit([], ""))

    assert outcome.result is LaunchResult.INVALID
    assert outcome.reason == "Batch job submission failed: Invalid qos specification"


def test_a_submission_without_an_answer_is_of_unknown_outcome(played, monkeypatch):
    monkeypatch.setattr(module, "SUBMIT_SECONDS", 0.2)
    played.set("sbatch", "exec sleep 1000")
    outcome = asyncio.run(Slurm().submit([], ""))

    assert outcome.result is LaunchResult.UNKNOWN
    assert outcome.reason == "sbatch has not answered within 0.2 seconds"


def test_a_call_that_is_cut_off_leaves_no_command_behind(played):
    os.mkfifo(played.folder / "pid")
    played.set("squeue", f"echo $$ > {played.folder}/pid; exec sleep 1000")

    async def scenario():
        call = asyncio.ensure_future(Slurm().jobs())
        pid = int(await asyncio.to_thread((played.folder / "pid").read_text))  # there once the command has begun
        call.cancel()
        await asyncio.wait([call])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scenario())


def answer(played, jobs):
    (played.folder / "answer").write_text(json.dumps({"jobs": jobs}))
    played.set("squeue", f"cat {played.folder}/answer")


def test_only_ones_own_jobs_are_listed(played):
    answer(played, [{"job_id": 1, "user_id": os.getuid()}, {"job_id": 2, "user_id": os.getuid() + 1}])

    assert [job.job_id for job in asyncio.run(Slurm().jobs())] == [1]
    assert played.calls == ["squeue --json --me --states=all"]


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("echo \"squeue: unrecognized option '--json'\" >&2; exit 1", "unrecognized option '--json'"),
        ("exit 3", "squeue has ended with exit code 3"),
        ("echo nonsense", "no list of jobs: it is not JSON"),
        (
            """echo '{"errors": [{"description": "Failed while looking for jobs"}], "jobs": []}'""",
            "no list of jobs: Failed while looking",
        ),
        ("exec sleep 1000", "squeue has not answered within 0.2 seconds"),
    ],
)
def test_a_list_that_cannot_be_had_is_an_error(does, reason, played, monkeypatch):
    monkeypatch.setattr(module, "ASK_SECONDS", 0.2)
    played.set("squeue", does)

    with pytest.raises(ProviderError, match=reason):
        asyncio.run(Slurm().jobs())


def test_jobs_are_ended_in_three_ways(played):
    async def scenario():
        slurm = Slurm()
        await slurm.cancel([1, 2])
        await slurm.signal_script([3], "TERM")
        await slurm.kill([4])
        await slurm.cancel([])

    asyncio.run(scenario())

    assert played.calls == [
        "scancel --quiet 1 2",
        "scancel --quiet --batch --signal=TERM 3",
        "scancel --quiet --full --signal=KILL 4",
        "scancel --quiet 4",
    ]


def test_many_jobs_are_ended_in_several_calls(played):
    asyncio.run(Slurm().cancel(range(1200)))

    assert [len(call.split()) for call in played.calls] == [502, 502, 202]


def test_a_job_of_slurms_hands_its_own_terms_not_on():
    environment = {"SLURM_CONF": "/c", "SLURM_MEM_PER_CPU": "1", "SBATCH_ARRAY_INX": "1-5", "HOME": "/root"}

    assert clean(environment) == {"SLURM_CONF": "/c", "HOME": "/root"}


def test_a_job_that_cannot_be_ended_keeps_no_other_from_that(played):
    played.set("scancel", "exit 1")

    async def scenario():
        slurm = Slurm()
        for end in (slurm.cancel(range(1200)), slurm.kill([4])):
            with pytest.raises(ProviderError, match="scancel has ended with exit code 1"):
                await end

    asyncio.run(scenario())

    assert [len(call.split()) for call in played.calls] == [502, 502, 202, 5, 3]
