"""What the tests on containers share: the adapter's options, and the engine with the containers of one test."""

import uuid
from pathlib import Path

from scaler_adapter_container.config import ContainerConfig, ContainerWorkerAdapterConfig
from scaler_adapter_container.request import ADAPTER
from scaler_runtime.options import WorkerAdapterConfig, WorkerCapabilities, WorkerConfig
from tests.engines.podman import IMAGE

ROOT = Path(__file__).parents[2]


class Engine:
    """A service of podman's, as one test uses it; `tag` marks the containers of its adapters."""

    def __init__(self, service):
        self.service = service
        self.podman = service.podman
        self.host = service.host
        self.tag = uuid.uuid4().hex

    def config(self, address, *, capabilities=None, max_workers=8, preload=None, death_timeout_seconds=60, **options):
        """Return a configuration of the adapter."""
        worker_config = WorkerConfig(
            per_worker_capabilities=WorkerCapabilities(capabilities or {}), death_timeout_seconds=death_timeout_seconds
        )
        return ContainerWorkerAdapterConfig(
            WorkerAdapterConfig(address, max_workers=max_workers),
            ContainerConfig(**{"image": IMAGE, "docker_host": self.host, "tag": self.tag, **options}),
            preload=preload,
            worker_config=worker_config,
        )

    def options(self):
        """Return the flags of the command that mean this engine."""
        checkout = ("--mounts", f"{ROOT}:/checkout:ro", "--environment", "PYTHONPATH=/checkout")
        return ("--image", IMAGE, "--docker-host", self.host, "--tag", self.tag, *checkout)

    def containers(self):
        """Return the adapter's containers, in the engine's words."""
        with self.service.client() as client:
            return client.containers(all=True, filters={"label": [f"{ADAPTER}={self.tag}"]})

    def running(self):
        """Return the ids of those that run."""
        return [container["Id"] for container in self.containers() if container["State"] == "running"]

    def assert_empty(self):
        """Remove what there is; there should have been nothing."""
        left = self.containers()
        with self.service.client() as client:
            for container in left:
                client.remove_container(container["Id"], force=True)
        assert not left, [(container["Names"], container["State"]) for container in left]
