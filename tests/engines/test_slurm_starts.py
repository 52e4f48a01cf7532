"""Jobs that cannot be had, or whose workers never come: state, reason, and who is told. Slurm does it where it can."""

import re
import signal

import pytest

from tests.engines.slurm import instead_of_sbatch, jobs, line, wait_for_jobs
from tests.integration.commands import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def test_a_job_that_slurm_refuses_has_failed_in_its_words_and_is_tried_more_and_more_rarely(tmp_path):
    with line(tmp_path, "--memory-per-worker", "100G") as run:
        future = run.client.submit(abs, -1)
        run.adapter.wait_for_line("is failed: ")
        run.scheduler.wait_for_line("is failed: Memory specification can not be satisfied")
        run.wait_for_warning("no worker can run your tasks: worker group")
        run.adapter.wait_for_line("the engine refuses the group (3 times in a row), next attempt after 2 s")
        assert not future.done()


def test_a_quota_holds_the_group_back_and_its_client_is_told(tmp_path):
    """Slurm's limits need accounting, which this cluster has not: sbatch says what it would say."""
    refusal = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    full = tmp_path / "full"
    full.touch()
    environment = instead_of_sbatch(tmp_path, f'[ -e {full} ] && {{ echo "{refusal}" >&2; exit 1; }}\nsbatch "$@"')
    with line(tmp_path, environment=environment) as run:
        future = run.client.submit(abs, -1)
        run.adapter.wait_for_line("a quota is reached (2 times in a row), next attempt after 1 s: QOSMaxSubmitJob")
        run.scheduler.wait_for_line("is pending: a quota is reached")
        run.wait_for_warning("no worker comes: ")
        assert "QOSMaxSubmitJobPerUserLimit" in run.warnings[0]
        full.unlink()
        assert future.result() == 1


def test_a_job_that_waits_for_ever_says_what_for_and_is_cancelled_with_the_load(tmp_path, cluster):
    with line(tmp_path, "--partition", "short", "--time-limit", "1:00:00") as run:
        future = run.client.submit(abs, -1)
        wait_for_jobs(cluster, 1, "PENDING")
        run.scheduler.wait_for_line("waits: PartitionTimeLimit")
        run.wait_for_warning("waits: PartitionTimeLimit")
        assert future.cancel()
        wait_until(lambda: not jobs(cluster), lambda: run.story)
        run.scheduler.wait_for_line("is gone: stopped")


def test_a_python_without_the_workers_package_is_named_with_what_to_do(tmp_path):
    with line(tmp_path, "--python", "/usr/bin/python3", environment={"PYTHONPATH": ""}) as run:
        run.client.submit(abs, -1)
        run.scheduler.wait_for_line("/usr/bin/python3 has no scaler-worker there: install it")
        run.wait_for_warning("or name another with --python")
        run.adapter.wait_for_line("the start failed (2 times in a row), next attempt after 1 s")


def test_a_python_that_is_not_there_is_named(tmp_path):
    with line(tmp_path, "--python", "/opt/missing/python") as run:
        run.client.submit(abs, -1)
        run.wait_for_warning("/opt/missing/python: No such file or directory")
        assert "a command was not found there (exit code 127)" in run.warnings[0]


def test_a_preload_that_fails_is_told_by_the_end_of_the_output(tmp_path):
    with line(tmp_path, "--preload", "no_such_module:function") as run:
        run.client.submit(abs, -1)
        run.wait_for_warning("no_such_module")


def test_a_group_whose_workers_never_register_is_ended(tmp_path, cluster):
    (tmp_path / "prologue").write_text("exec sleep 1000\n")
    with line(tmp_path, "--prologue", tmp_path / "prologue", "--death-timeout-seconds", 3) as run:
        run.client.submit(abs, -1)
        wait_for_jobs(cluster, 1)
        run.adapter.wait_for_line("no worker of it registered within 3 seconds")
        run.scheduler.wait_for_line("is failed: no worker of it registered within 3 seconds")
        run.wait_for_warning("no worker of it registered within 3 seconds")


def test_a_job_whose_submission_was_not_answered_is_found_and_not_submitted_again(tmp_path, cluster):
    """Slurm has the job; what sbatch says is what it says when its time runs out."""
    asked = tmp_path / "asked"
    answer = 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'
    environment = instead_of_sbatch(tmp_path, f'echo >> {asked}\nsbatch "$@" > /dev/null\n{answer}')
    with line(tmp_path, environment=environment) as run:
        assert run.client.submit(abs, -1).result() == 1
        assert len(jobs(cluster)) == 1
        run.adapter.wait_for_line("the outcome of a launch was unknown")
        assert len(asked.read_text()) == 1


def test_a_submission_that_was_not_answered_and_not_made_is_repeated(tmp_path, cluster):
    first = tmp_path / "first"
    first.touch()
    answer = "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received"
    does = f'[ -e {first} ] && {{ rm {first}; echo "{answer}" >&2; exit 1; }}\nsbatch "$@"'
    with line(tmp_path, environment=instead_of_sbatch(tmp_path, does)) as run:
        future = run.client.submit(abs, -1)
        run.adapter.wait_for_line("was not started after all")
        assert future.result() == 1
        assert len(jobs(cluster)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_group_that_ignores_sigterm_is_killed(number, tmp_path, cluster):
    """SIGKILL stands for a stop by the scheduler, SIGTERM for the adapter's own."""
    (tmp_path / "prologue").write_text("trap '' TERM\nexec sleep 1000\n")
    with line(tmp_path, "--prologue", tmp_path / "prologue") as run:
        future = run.client.submit(abs, -1)
        wait_for_jobs(cluster, 1)
        wait_until(lambda: any(process.name() == "sleep" for process in cluster.job_processes()))
        if number == signal.SIGKILL:
            assert future.cancel()
            run.adapter.wait_for_line("it did not end when asked to stop")
            wait_until(lambda: not jobs(cluster), lambda: run.story)
        else:
            assert run.adapter.stop() == 0
            assert not jobs(cluster)
        assert re.search("asking group .* to end", run.adapter.output)
