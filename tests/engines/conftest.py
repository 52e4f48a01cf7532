"""One Slurm cluster for each test process, and one store of podman for all; they are made when first needed."""

import contextlib
import os

import pytest

from tests.engines import podman
from tests.engines.apt import require
from tests.engines.containers import Engine
from tests.engines.slurm_cluster import COMMANDS, PACKAGES, SlurmCluster


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    """The cluster of this test process."""
    require("Slurm", COMMANDS, PACKAGES, as_root=True)
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def cluster(slurm_cluster, monkeypatch):
    """Slurm's commands of this test, and of what it starts, mean the cluster; no job is left in it."""
    for name in ("PATH", "SLURM_CONF", "MARK_OF_CLUSTER"):
        monkeypatch.setenv(name, slurm_cluster.environment[name])
    yield slurm_cluster
    slurm_cluster.assert_empty()


@pytest.fixture(scope="session")
def podman_service(tmp_path_factory):
    """Podman's Docker API, with a socket of this test process."""
    if os.geteuid() != 0:
        pytest.skip("podman cannot be tested here: only root can start containers on any machine")
    require("podman", podman.COMMANDS, podman.PACKAGES)
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(podman.shared_podman(shared / "podman"))
        except podman.Unusable as reason:
            pytest.skip(f"podman cannot be tested here: {reason}")
        yield stack.enter_context(podman.Service(store, tmp_path_factory.mktemp("service") / "socket"))


@pytest.fixture
def engine(podman_service):
    """Containers of one test; none is left."""
    engine = Engine(podman_service)
    yield engine
    engine.assert_empty()
