"""A Slurm cluster whose nodes are hosts of their own, away from the scheduler: cut off, lost, and replaced."""

import pytest

from tests.engines import hosts as hosts_module
from tests.engines import slurm_cluster as slurm_module
from tests.engines.apt import require
from tests.engines.hosts import Hosts
from tests.engines.slurm import VANILLA, adapter_arguments, began, wait_for_jobs
from tests.engines.slurm_cluster import SlurmCluster
from tests.integration.commands import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def hosts():
    require("several hosts", hosts_module.COMMANDS, hosts_module.PACKAGES, as_root=True)
    with Hosts("server", "n1", "n2", "user") as made:
        yield made


@pytest.fixture
def cluster(hosts, tmp_path, monkeypatch):
    """A cluster with its controller on the server and its nodes on two other hosts."""
    require("Slurm", slurm_module.COMMANDS, slurm_module.PACKAGES, as_root=True)
    addresses = {"controller": hosts.addresses["server"], "n1": hosts.addresses["n1"], "n2": hosts.addresses["n2"]}
    enter = {"controller": hosts.enter("server"), "n1": hosts.enter("n1"), "n2": hosts.enter("n2")}
    with SlurmCluster(tmp_path / "slurm", addresses, enter) as started:
        for name in ("PATH", "SLURM_CONF", "MARK_OF_CLUSTER"):
            monkeypatch.setenv(name, started.environment[name])
        yield started


def test_a_node_that_is_cut_off_is_lost_its_orphan_ends_and_its_task_runs_on_another(hosts, cluster, tmp_path):
    options = ("--max-workers", 1, "--death-timeout-seconds", 5)
    with hosts.running(
        "server", "scaler_scheduler", "tcp://0.0.0.0:0", "-pc", VANILLA, "--worker-timeout-seconds", 3
    ) as scheduler:
        port = scheduler.wait_for_line("scheduler listening on").rpartition(":")[2]
        address = f"tcp://{hosts.addresses['server']}:{port}"
        module, *arguments = adapter_arguments(address, tmp_path, *options)
        with (
            hosts.running("server", module, *arguments),
            hosts.running("user", "tests.engines.far_client", address, "one", tmp_path, 1) as client,
        ):
            wait_until(lambda: began(tmp_path), lambda: scheduler.output)
            ((_, job),) = running_jobs(cluster)
            node = job["nodes"]
            before = cluster.job_processes()
            hosts.cut(node)
            try:
                # It hears nothing of anybody; nobody can end it but its own death timeout.
                wait_until(lambda: not any(process.is_running() for process in before), lambda: f"{before}")
                cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=cut")
                scheduler.wait_for_line(f"on {node}: its node was lost")
                wait_until(lambda: len(began(tmp_path)) == 2, lambda: scheduler.output)
            finally:
                hosts.heal(node)
            ((_, job),) = running_jobs(cluster)
            assert job["nodes"] != node
            (tmp_path / "end").touch()
            client.wait_for_line("results are right")


def running_jobs(cluster):
    """Return the one job that runs, with its id."""
    wait_for_jobs(cluster, 1)
    from tests.engines.slurm import jobs

    return [(job_id, job) for job_id, job in jobs(cluster).items() if job["job_state"] == "RUNNING"]
