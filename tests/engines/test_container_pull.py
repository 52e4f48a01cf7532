"""Images that the engine fetches from a registry, before the first container or before each."""

import contextlib
import warnings

import pytest

from scaler import Client
from scaler.utility.exceptions import SchedulerWarning
from tests.engines.apt import require
from tests.engines.container_tasks import variable, where
from tests.engines.containers import Engine
from tests.engines.podman import IMAGE, Service
from tests.engines.registry import COMMANDS, PACKAGES, Registry
from tests.integration.commands import running, scheduler

pytestmark = [pytest.mark.integration, pytest.mark.slow]

POLICY = "allocate=even_load; scaling=vanilla(upper=1,cooldown=1000)"


class Shelf:
    """A registry, and an engine that fetches from it an image for workers. `image` is its name."""

    def __init__(self, registry, service):
        self.registry = registry
        self.engine = Engine(service)
        self.image = f"{registry.address}/worker"

    def make(self, mark):
        """Have the engine have an image whose containers have a mark."""
        podman = self.engine.podman
        container = podman.run("create", IMAGE, "python3")
        podman.run("commit", "--quiet", "--change", f"ENV MARK={mark}", container, self.image)
        podman.run("rm", container)

    def push(self):
        """Have the registry give out the engine's image from now on."""
        self.engine.podman.run("push", "--tls-verify=false", "--quiet", self.image)

    @contextlib.contextmanager
    def system(self, *options):
        """A scheduler, the adapter and a client."""
        command = ("scaler_adapter_container", *self.engine.options(), "--image", self.image, "--max-workers", 1)
        with (
            scheduler(policy=POLICY) as (server, address),
            running(command[0], address, *command[1:], *options) as adapter,
            Client(address) as client,
        ):
            yield server, adapter, client


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """One for all: a layer that it has is not sent a second time."""
    require("a registry of images", COMMANDS, PACKAGES)
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def shelf(tmp_path, registry, podman_service):
    with Service(registry.trusted_by(podman_service.podman), tmp_path / "socket") as service:
        made = Shelf(registry, service)
        yield made
        made.engine.assert_empty()
        made.engine.podman.run("rmi", "--force", "--ignore", made.image)


def test_an_image_that_is_missing_is_fetched_while_its_group_is_pending(shelf):
    shelf.make("new")
    shelf.push()
    shelf.engine.podman.run("rmi", shelf.image)
    with shelf.system("-ll", "DEBUG") as (server, adapter, client):
        with shelf.registry.silent():
            future = client.submit(where, 0)
            server.wait_for_line(f"is pending: the engine fetches the image {shelf.image}")
        container = future.result()
        assert shelf.engine.running() == [container]
        adapter.wait_for_line("the image has come")
        order = [adapter.output.index(part) for part in ("fetches the image", "is pending", "has come", "is running")]
        assert order == sorted(order)


def test_an_image_that_is_there_needs_no_registry_unless_it_is_always_fetched(shelf):
    shelf.make("new")
    shelf.push()
    shelf.make("old")
    shelf.registry.stop()
    with shelf.system() as (_, adapter, client):
        assert client.submit(variable, "MARK").result() == "old"
        assert "fetches" not in adapter.output
    with shelf.system("--pull", "always") as (_, adapter, client):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            future = client.submit(variable, "MARK")
            adapter.wait_for_line(f"is failed: the image {shelf.image} cannot be fetched: ")
            shelf.registry.start()
            assert future.result() == "new"
        assert {item.category for item in caught} <= {SchedulerWarning}
        assert "the image has come" in adapter.output
