"""What befalls jobs that run, and the adapter: nothing is lost, and each end has its name. All of it is real."""

import os
import signal

import pytest

from tests.engines.slurm import adapter_arguments, began, begin_and_end, jobs, line, pid_of, wait_for_jobs
from tests.integration.commands import Command, free_address, running, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_workers_come_as_jobs_and_go_with_the_load(tmp_path, cluster):
    with line(tmp_path, "--workers-per-group", 2, "--max-workers", 4, "--cpus-per-worker", 1) as run:
        futures = [run.client.submit(begin_and_end, tmp_path, number) for number in range(4)]
        wait_until(lambda: len(set(began(tmp_path))) == 4, lambda: run.story)
        assert len(jobs(cluster)) == 2
        assert {job["cpus"] for job in jobs(cluster).values()} == {2}
        (tmp_path / "end").touch()
        assert [future.result() for future in futures] == [0, 1, 2, 3]
        wait_until(lambda: not jobs(cluster), lambda: run.story)
        for _ in range(2):
            run.adapter.wait_for_line("is gone: stopped")
        assert run.warnings == []


def test_a_job_that_dies_is_lost_and_replaced_and_its_task_runs_again(tmp_path, cluster):
    with line(tmp_path) as run:
        future = run.client.submit(begin_and_end, tmp_path)
        wait_until(lambda: began(tmp_path))
        (first,) = wait_for_jobs(cluster, 1)
        cluster.run("scancel", "--full", "--signal=KILL", str(first))
        run.scheduler.wait_for_line("is lost: job")
        wait_until(lambda: len(began(tmp_path)) == 2, lambda: run.story)
        (tmp_path / "end").touch()
        assert future.result() == 0
        (second,) = wait_for_jobs(cluster, 1)
        assert second != first


def test_a_job_that_an_operator_cancels_is_named_so(tmp_path, cluster):
    with line(tmp_path) as run:
        assert run.client.submit(abs, -1).result() == 1
        cluster.run("scancel", str(wait_for_jobs(cluster, 1)[0]))
        run.scheduler.wait_for_line("somebody has cancelled its job")


def test_a_job_that_slurm_puts_back_is_given_up_and_does_not_run_a_second_time(tmp_path, cluster):
    with line(tmp_path) as run:
        future = run.client.submit(begin_and_end, tmp_path)
        wait_until(lambda: began(tmp_path))
        (first,) = map(str, wait_for_jobs(cluster, 1))
        cluster.run("scontrol", "update", f"jobid={first}", "requeue=1")
        cluster.run("scontrol", "requeue", first)
        run.scheduler.wait_for_line(f"is lost: Slurm has put job {first} back into its queue")
        wait_until(lambda: len(began(tmp_path)) == 2, lambda: run.story)
        (tmp_path / "end").touch()
        assert future.result() == 0
        assert first not in map(str, jobs(cluster))


def test_a_lost_node_loses_its_job_and_the_orphan_ends_by_its_death_timeout(tmp_path, cluster):
    address = free_address()
    scheduler = ("scaler_scheduler", address, "-pc", "allocate=even_load; scaling=vanilla(upper=1)")
    options = ("--max-workers", 1, "--death-timeout-seconds", 4, "--sbatch-options", "nodelist=n1")
    first = Command(*scheduler)
    with running(*adapter_arguments(address, tmp_path, *options)) as adapter:
        from scaler import Client

        with Client(address) as client:
            client.submit(pid_of, 0).result()
            wait_for_jobs(cluster, 1)
            cluster.end("n1", signal.SIGKILL)
            cluster.kill_supervisors()
            orphans = cluster.job_processes()
            cluster.run("scontrol", "update", "nodename=n1", "state=down", "reason=lost")
            first.wait_for_line("is lost: job")
            assert "on n1: its node was lost" in first.output
            assert all(process.is_running() for process in orphans)
        first.kill()
        assert adapter.process.wait(60) == 1
    wait_until(lambda: not cluster.job_processes())
    cluster.start("n1")
    cluster.run("scontrol", "update", "nodename=n1", "state=resume")
    cluster.wait_idle(["n1"])


def test_while_the_controller_is_away_tasks_go_on_and_then_all_is_as_before(tmp_path, cluster):
    with line(tmp_path) as run:
        futures = [run.client.submit(begin_and_end, tmp_path, 0)]
        wait_until(lambda: began(tmp_path), lambda: run.story)
        (first,) = wait_for_jobs(cluster, 1)
        cluster.end("controller")
        run.adapter.wait_for_line("cannot see what runs")
        futures.append(run.client.submit(begin_and_end, tmp_path, 1))
        run.adapter.wait_for_line("the engine is not available")
        run.scheduler.wait_for_line("is pending: the engine is not available")
        cluster.start("controller")
        cluster.wait_idle(["n1", "n2"])
        wait_until(lambda: len(began(tmp_path)) == 2, lambda: run.story)
        (tmp_path / "end").touch()
        assert [future.result() for future in futures] == [0, 1]
        assert first in jobs(cluster)
        assert "lost" not in run.scheduler.output


def test_a_job_that_could_not_be_asked_to_end_is_asked_again_and_ends_in_order(tmp_path, cluster):
    with line(tmp_path) as run:
        future = run.client.submit(begin_and_end, tmp_path)
        wait_until(lambda: began(tmp_path), lambda: run.story)
        wait_for_jobs(cluster, 1)
        cluster.end("controller")
        (tmp_path / "end").touch()
        assert future.result() == 0
        run.adapter.wait_for_line("to end, next attempt after 1 s: ")
        cluster.start("controller")
        cluster.wait_idle(["n1", "n2"])
        run.adapter.wait_for_line("is gone: stopped")
        assert "(kill)" not in run.adapter.output
        assert not jobs(cluster)


def test_an_adapter_that_was_killed_finds_its_jobs_again(tmp_path, cluster):
    with line(tmp_path) as run:
        futures = [run.client.submit(begin_and_end, tmp_path, number) for number in range(2)]
        wait_until(lambda: len(began(tmp_path)) == 2, lambda: run.story)
        run.adapter.kill()
        before = wait_for_jobs(cluster, 2)
        address = run.scheduler.lines[0].split()[-1]
        with running(*adapter_arguments(address, tmp_path)) as back:
            for _ in range(2):
                back.wait_for_line("found group")
            run.scheduler.wait_for_line("joined: capacity 2, 0 groups")
            (tmp_path / "end").touch()
            assert [future.result() for future in futures] == [0, 1]
            assert wait_for_jobs(cluster, 2) == before
            assert len({run.client.submit(os.getpid).result() for _ in range(3)} - set(began(tmp_path))) == 0
        assert not jobs(cluster)


def test_the_end_of_a_jobs_time_is_announced_and_no_failure(tmp_path, cluster):
    """The limit is that of the partition, which Slurm tells; Slurm looks at time limits every 30 seconds only."""
    with line(tmp_path, "--drain-seconds", 58, "--max-workers", 1) as run:
        future = run.client.submit(begin_and_end, tmp_path)
        wait_until(lambda: began(tmp_path))
        (first,) = wait_for_jobs(cluster, 1)
        cluster.run("scontrol", "update", f"jobid={first}", "timelimit=1")
        run.scheduler.wait_for_line(f"is draining: the time limit of job {first} is near")
        assert jobs(cluster).keys() == {first}
        output = next((tmp_path / "logs").glob("*.log"))
        wait_until(lambda: "the time of this job is nearly up" in output.read_text(), lambda: run.story)
        assert not future.done()
        (tmp_path / "end").touch()
        assert future.result() == 0
        run.scheduler.wait_for_line(f"is gone: job {first} on n1: it ended in order")
        assert "lost" not in run.scheduler.output
        assert run.warnings == []
        assert len(began(tmp_path)) == 1
