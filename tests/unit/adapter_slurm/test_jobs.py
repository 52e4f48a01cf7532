"""What `squeue --json` says, in the forms of several versions of Slurm."""

import json

import pytest

from scaler_adapter_slurm.jobs import parse_jobs

# As printed by Slurm 22.05, without what is not read.
OLD = {
    "comment": '{"n":1}',
    "end_time": 1795524806,
    "exit_code": 768,
    "job_id": 3,
    "job_state": "FAILED",
    "name": "scaler-bad",
    "nodes": "n1",
    "restart_cnt": 0,
    "start_time": 1795521206,
    "state_reason": "NonZeroExitCode",
    "submit_time": 1795521206,
    "user_id": 0,
}


def number(value):
    return {"set": True, "infinite": False, "number": value}


# The same from Slurm 23.11 on.
NEW = OLD | {
    "end_time": number(1795524806),
    "exit_code": {"status": ["ERROR"], "return_code": number(3), "signal": {"id": number(0), "name": ""}},
    "job_state": ["FAILED"],
    "start_time": number(1795521206),
    "submit_time": number(1795521206),
}


def parsed(fields):
    (job,) = parse_jobs(json.dumps({"meta": {}, "errors": [], "jobs": [fields]}))
    return job


def test_old_and_new_forms_say_the_same():
    job = parsed(OLD)

    assert parsed(NEW) == job
    assert (job.job_id, job.name, job.user_id, job.states) == (3, "scaler-bad", 0, frozenset({"FAILED"}))
    assert (job.exit_code, job.signal, job.reason, job.nodes) == (3, 0, "NonZeroExitCode", "n1")
    assert (job.submit_time, job.start_time, job.end_time) == (1795521206, 1795521206, 1795524806)
    assert (job.comment, job.restarts) == ('{"n":1}', 0)


@pytest.mark.parametrize(
    "exit_code",
    [
        15,
        {"status": ["SIGNALED"], "return_code": number(0), "signal": {"id": number(15), "name": "Terminated"}},
        {"status": "SIGNALED", "return_code": 0, "signal": {"signal_id": 15, "name": "Terminated"}},
    ],
)
def test_a_signal_is_told_from_an_exit_code(exit_code):
    job = parsed(OLD | {"exit_code": exit_code})

    assert (job.exit_code, job.signal) == (0, 15)


def test_a_job_has_several_states_at_once():
    assert parsed(NEW | {"job_state": ["COMPLETED", "COMPLETING"]}).states == {"COMPLETED", "COMPLETING"}


def test_what_is_not_set_is_not_known():
    unlimited = {"set": False, "infinite": True, "number": 0}
    job = parsed(NEW | {"end_time": unlimited, "start_time": unlimited, "state_reason": "None", "comment": None})

    assert (job.end_time, job.start_time, job.reason, job.comment) == (0, 0, "", "")


def test_what_is_missing_is_no_error():
    assert parsed({}).user_id == -1


@pytest.mark.parametrize(
    ("text", "what"), [("slurm_load_jobs error", "not JSON"), ("[]", "no list of jobs"), ("{}", "no list of jobs")]
)
def test_another_answer_is_refused(text, what):
    with pytest.raises(ValueError, match=what):
        parse_jobs(text)
