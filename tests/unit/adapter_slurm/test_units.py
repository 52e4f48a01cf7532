"""Jobs as units: each of Slurm's states, with words that help."""

import pytest

from scaler_adapter_core.provider import UnitState
from scaler_adapter_slurm.units import has_ended, is_over, state_of
from tests.unit.adapter_slurm.fake_slurm import NOW, job

DRAIN_SECONDS = 30.0


def shown(state, **fields):
    return state_of(job(state, **fields), DRAIN_SECONDS, NOW)


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "RUNNING CONFIGURING", "REQUEUE_HOLD"])
def test_a_job_that_has_not_begun_waits(state):
    assert shown(state) == (UnitState.PENDING, "")


def test_a_wait_has_its_reason_once_it_lasts():
    assert shown("PENDING", reason="Priority", submit_time=NOW - 1) == (UnitState.PENDING, "")
    assert shown("PENDING", reason="PartitionNodeLimit", submit_time=NOW - 6) == (
        UnitState.PENDING,
        "job 7 waits: PartitionNodeLimit",
    )


def test_a_job_runs():
    assert shown("RUNNING") == (UnitState.RUNNING, "")
    assert shown("SUSPENDED") == (UnitState.RUNNING, "Slurm has stopped job 7 for now")


@pytest.mark.parametrize("state", ["COMPLETING", "COMPLETED COMPLETING", "CANCELLED COMPLETING"])
def test_a_job_whose_processes_end_is_there_until_it_is_known_how_they_have(state):
    assert shown(state, end_time=NOW - 1) == (UnitState.RUNNING, "")
    assert not has_ended(job(state))


@pytest.mark.parametrize(
    ("state", "over"),
    [
        ("PENDING", False),
        ("RUNNING", False),
        ("SUSPENDED", False),
        ("RUNNING SIGNALING", False),
        ("SIGNALING", False),
        ("PENDING COMPLETING", False),
        ("COMPLETING", True),
        ("CANCELLED COMPLETING", True),
        ("COMPLETED STAGE_OUT", True),
        ("FAILED", True),
    ],
)
def test_what_is_over_need_not_be_asked_to_end(state, over):
    assert is_over(job(state)) is over


def test_a_job_whose_node_does_not_let_it_go_has_ended_all_the_same():
    assert shown("COMPLETING", end_time=NOW - 21, exit_code=1) == (UnitState.FAILED, "job 7: ended with exit code 1")


def test_a_job_drains_before_its_time_is_up():
    assert shown("RUNNING", end_time=NOW + 30) == (UnitState.DRAINING, "the time limit of job 7 is near")
    assert shown("RUNNING", end_time=NOW + 31) == (UnitState.RUNNING, "")
    assert shown("RUNNING", end_time=0) == (UnitState.RUNNING, "")  # without a limit


@pytest.mark.parametrize("state", ["TIMEOUT", "DEADLINE", "COMPLETED"])
def test_a_planned_end_is_no_failure(state):
    assert shown(state)[0] is UnitState.GONE
    assert has_ended(job(state))


@pytest.mark.parametrize("signal", [15, 12])
def test_a_script_that_was_asked_before_its_workers_began_has_ended_in_order(signal):
    assert shown("FAILED", signal=signal) == (UnitState.GONE, "job 7: it was asked to end")


@pytest.mark.parametrize(
    ("state", "fields", "reason"),
    [
        ("NODE_FAIL", {}, "job 7 on n1: its node was lost"),
        ("OUT_OF_MEMORY", {}, "job 7 on n1: it used more memory than its job has (memory_per_worker)"),
        ("PREEMPTED", {}, "job 7 on n1: its job had to make room for others (preempted)"),
        ("CANCELLED", {}, "job 7 on n1: somebody has cancelled its job"),
        ("FAILED", {"exit_code": 1, "reason": "NonZeroExitCode"}, "job 7 on n1: ended with exit code 1"),
        ("FAILED", {"exit_code": 127}, "job 7 on n1: a command was not found there (exit code 127)"),
        ("FAILED", {"signal": 9}, "job 7 on n1: ended with signal SIGKILL"),
        ("FAILED", {"signal": 99, "reason": "JobLaunchFailure"}, "job 7 on n1: ended with signal 99, JobLaunchFailure"),
        ("SOMETHING_NEW", {}, "job 7 is SOMETHING_NEW"),
    ],
)
def test_a_failure_says_what_it_was(state, fields, reason):
    assert shown(state, nodes="n1", **fields) == (UnitState.FAILED, reason)


def test_an_output_without_a_place_is_named():
    assert "the nodes must have the log folder too" in shown("FAILED", signal=53)[1]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_job_that_slurm_begins_again_has_failed(state):
    assert shown(state, restarts=1) == (UnitState.FAILED, "Slurm has put job 7 back into its queue")
