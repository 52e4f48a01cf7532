"""Why jobs have failed, by the end of their output."""

import asyncio
import os
import sys

from scaler_adapter_slurm import endings as module
from scaler_adapter_slurm.endings import Endings
from scaler_adapter_slurm.submission import Submission
from tests.unit.adapter_slurm.fake_slurm import configuration, job


def endings(folder):
    submission = Submission(configuration(), folder)
    return submission, Endings(submission)


def failed(submission, group_id, state="FAILED"):
    return job(state, name=submission.job_name(group_id))


def test_the_last_lines_are_one(tmp_path):
    submission, known = endings(tmp_path)
    submission.log("a").write_text("x" * 10_000 + "\n\n first\nsecond \nthird\n\n")

    assert asyncio.run(known.last_words("a")) == "first | second | third"


def test_long_lines_are_cut(tmp_path):
    submission, known = endings(tmp_path)
    submission.log("a").write_text("a" * 10_000)

    assert len(asyncio.run(known.last_words("a"))) == 600


def test_a_missing_output_says_nothing(tmp_path):
    assert asyncio.run(endings(tmp_path)[1].last_words("a")) == ""


def test_it_says_what_to_do_where_the_workers_package_is_missing(tmp_path):
    submission, known = endings(tmp_path)
    submission.log("a").write_text(
        "Error while finding module specification (ModuleNotFoundError: No module named 'scaler_worker')"
    )

    assert asyncio.run(known.last_words("a")) == (
        f"{sys.executable} has no scaler-worker there: install it, or name another with --python"
    )


def test_the_output_of_a_failed_job_is_read_once(tmp_path):
    async def scenario():
        submission, known = endings(tmp_path)
        jobs = [failed(submission, "a"), failed(submission, "b", "RUNNING"), failed(submission, "c", "COMPLETED")]
        for group_id in "abc":
            submission.log(group_id).write_text(f"words of {group_id}")
        await known.read(jobs)
        submission.log("a").write_text("other words")
        await known.read(jobs)
        assert known.explain("a", "it failed") == "it failed: words of a"
        assert known.explain("b", "it runs") == "it runs"
        assert known.explain("c", "it ended") == "it ended"
        await known.read([])
        assert known.explain("a", "it failed") == "it failed"

    asyncio.run(scenario())


def test_a_file_system_that_hangs_holds_up_neither_a_look_nor_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 0.05)
    submission, known = endings(tmp_path)
    os.mkfifo(submission.log("a"))  # whose reader waits for a writer
    submission.log("b").write_text("words")

    async def scenario():
        assert await known.last_words("a") == ""
        assert await known.last_words("b") == ""
        known.close()

    asyncio.run(scenario())  # which ends, though the thread still waits
    os.close(os.open(submission.log("a"), os.O_WRONLY))
