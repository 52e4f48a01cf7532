"""What can go wrong with containers, produced for real on podman, and how a user of the product sees it."""

import contextlib
import os
import re
import signal
import socket
import warnings

import pytest

from scaler import Client
from scaler.utility.exceptions import SchedulerWarning
from tests.engines.container_tasks import fill_memory, hold, where
from tests.engines.cutting_proxy import CuttingProxy
from tests.engines.podman import EMPTY_IMAGE, Service
from tests.engines.worker_image import STANDARD_LIBRARY
from tests.integration.commands import PATIENCE_SECONDS, Command, free_address, running, scheduler, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

POLICY = "allocate=even_load; scaling=vanilla(upper=1,cooldown=1000)"
ADAPTER = "scaler_adapter_container"
SITE = STANDARD_LIBRARY / "site-packages"


@contextlib.contextmanager
def system(engine, *options, retries=1):
    """A scheduler and the adapter; gives both commands and the address."""
    with (
        scheduler("--task-retry-limit", retries, "--worker-timeout-seconds", 20, policy=POLICY) as (command, address),
        running(ADAPTER, address, *engine.options(), "--max-workers", 2, *options) as adapter,
    ):
        yield command, adapter, address


# ---- the start


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(("--network", "no-such-network"), "unable to find network", id="refused"),
        pytest.param(("--user", "nobody-knows"), "unable to find user nobody-knows", id="refused_at_the_start"),
        pytest.param(("--image", "localhost/gone", "--pull", "never"), "has no image localhost/gone", id="no_image"),
        pytest.param(("--image", "localhost:1/gone"), "the image localhost:1/gone cannot be fetched", id="no_registry"),
        pytest.param(("--image", EMPTY_IMAGE), "python3", id="no_python"),
        pytest.param(("--preload", "gone:function"), "there is no module gone", id="dies_before_registering"),
        pytest.param(("--mounts", f"EMPTY:{SITE}"), "has no scaler-worker", id="no_scaler_worker"),
    ],
)
def test_a_container_that_cannot_start_is_reported_with_its_reason(options, reason, engine, tmp_path):
    options = [option.replace("EMPTY", str(tmp_path)) for option in options]
    with system(engine, *options) as (command, adapter, address):
        with warnings.catch_warnings(record=True) as caught, Client(address) as client:
            warnings.simplefilter("always")
            client.submit(where, 0)
            wait_until(lambda: any(reason in str(item.message) for item in caught), lambda: adapter.output)
        assert {item.category for item in caught} == {SchedulerWarning}
        adapter.wait_for_line(reason)
        command.wait_for_line(reason)
        wait_until(lambda: not engine.containers(), lambda: adapter.output)


def test_a_registry_that_does_not_answer_leaves_a_group_pending(engine):
    with socket.create_server(("127.0.0.1", 0)) as registry:
        image = f"localhost:{registry.getsockname()[1]}/slow"
        with system(engine, "--image", image, "-ll", "DEBUG") as (_, adapter, address), Client(address) as client:
            client.submit(where, 0)
            connection, _ = registry.accept()
            with connection:
                adapter.wait_for_line(f"the engine fetches the image {image}")
                adapter.wait_for_line("is pending")


@pytest.mark.parametrize("lost", ["/containers/create", "/start"])
def test_a_launch_whose_answer_is_lost_leaves_one_container(lost, engine, tmp_path):
    with CuttingProxy(tmp_path / "proxy", engine.service.socket) as proxy:
        engine.host = proxy.host
        with system(engine) as (_, adapter, address), Client(address) as client:
            proxy.lose(lost)
            container = client.submit(where, 0).result()
            assert proxy.lost.is_set()
            adapter.wait_for_line("the outcome of a launch was unknown")
            assert engine.running() == [container]
            assert len(engine.containers()) == 1


# ---- later


def test_a_container_killed_from_outside_is_lost_and_replaced(engine, tmp_path):
    with system(engine, "--mounts", f"{tmp_path}:/data") as (_, adapter, address), Client(address) as client:
        future = client.submit(hold, "/data", "begun")
        wait_until((tmp_path / "begun").exists, lambda: adapter.output)
        (container,) = engine.running()
        engine.podman.run("kill", container)
        adapter.wait_for_line("is lost: the container was ended by SIGKILL (exit code 137)")
        (tmp_path / "go").touch()
        assert future.result() != container


def test_a_container_removed_from_outside_is_lost_and_replaced(engine, tmp_path):
    with system(engine, "--mounts", f"{tmp_path}:/data") as (_, adapter, address), Client(address) as client:
        future = client.submit(hold, "/data", "begun")
        wait_until((tmp_path / "begun").exists, lambda: adapter.output)
        (container,) = engine.running()
        engine.podman.run("rm", "--force", "--time=0", container)
        adapter.wait_for_line("is lost: ")
        (tmp_path / "go").touch()
        assert future.result() != container


def test_a_container_stopped_from_outside_has_not_failed(engine):
    with system(engine) as (_, adapter, address), Client(address) as client:
        engine.podman.run("stop", client.submit(where, 0).result())
        said = "is gone: the container ended in order (exit code 0)"
        wait_until(lambda: said in adapter.output, lambda: adapter.output)


def test_an_end_by_the_memory_limit_is_named(engine):
    with system(engine, "--memory", "200m", retries=0) as (_, adapter, address), Client(address) as client:
        future = client.submit(fill_memory, 400)
        adapter.wait_for_line("is lost: the container was ended by its memory limit of 200 MiB")
        assert re.search(r"out-of-memory kills in its control group: [1-9]", str(future.exception()))


def test_while_the_engine_is_down_containers_work_on_and_what_is_wanted_waits(engine, tmp_path):
    with Service(engine.podman, tmp_path / "socket") as service, contextlib.ExitStack() as stack:
        engine.host = service.host
        command, adapter, address = stack.enter_context(system(engine, "--mounts", f"{tmp_path}:/data"))
        client = stack.enter_context(Client(address))
        first = client.submit(hold, "/data", "first")
        wait_until((tmp_path / "first").exists, lambda: adapter.output)
        service.stop()
        adapter.wait_for_line("cannot see what runs")
        second = client.submit(hold, "/data", "second")
        adapter.wait_for_line("the engine is not available")
        command.wait_for_line("the engine is not available")
        service.start()
        wait_until((tmp_path / "second").exists, lambda: adapter.output)
        (tmp_path / "go").touch()
        assert first.result() != second.result()
        assert "is lost" not in adapter.output


def test_an_adapter_that_was_killed_finds_its_containers_again(engine, tmp_path):
    options = (*engine.options(), "--mounts", f"{tmp_path}:/data")
    with scheduler(policy=POLICY) as (_, address), Client(address) as client:
        first = Command(ADAPTER, address, *options)
        future = client.submit(hold, "/data", "begun")
        wait_until((tmp_path / "begun").exists, lambda: first.output)
        (container,) = engine.running()
        first.kill()
        with running(ADAPTER, address, *options) as second:
            second.wait_for_line("found group")
            (tmp_path / "go").touch()
            assert future.result() == container
            assert engine.running() == [container]


def test_what_nobody_looks_after_ends_by_itself_and_is_removed_later(engine):
    options = (*engine.options(), "--death-timeout-seconds", 12)
    address = free_address()
    first = Command("scaler_scheduler", address, "-pc", POLICY)
    first.wait_for_line("scheduler listening on")
    adapter = Command(ADAPTER, address, *options)
    with Client(address) as client:
        client.submit(where, 0).result()
        adapter.kill()
    first.kill()
    wait_until(lambda: not engine.running(), lambda: str(engine.containers()))
    assert len(engine.containers()) == 1
    with running("scaler_scheduler", address, "-pc", POLICY), running(ADAPTER, address, *options):
        wait_until(lambda: not engine.containers())


def test_a_container_that_ignores_sigterm_is_killed(engine):
    with scheduler(policy=POLICY) as (_, address), Client(address) as client:
        adapter = Command(ADAPTER, address, *engine.options())
        container = client.submit(where, 0).result()
        os.kill(int(engine.podman.run("inspect", "--format={{.State.Pid}}", container)), signal.SIGSTOP)
        assert adapter.stop() == 0
        assert "to end (drain)" in adapter.output
        assert not engine.containers()


def test_a_second_adapter_with_the_same_tag_is_refused(engine):
    with system(engine) as (command, _, address):
        command.wait_for_line("adapter CON|")
        second = Command(ADAPTER, address, *engine.options())
        second.wait_for_line(f"another adapter on this machine has the tag {engine.tag}")
        assert second.process.wait(PATIENCE_SECONDS) == 1
        second.assert_nothing_left()


def test_without_an_engine_the_adapter_ends_with_one_line(engine, tmp_path):
    engine.host = f"unix://{tmp_path}/nothing"
    adapter = Command(ADAPTER, "tcp://127.0.0.1:1", *engine.options())
    assert adapter.process.wait(PATIENCE_SECONDS) == 1
    adapter.assert_nothing_left()
    (line,) = adapter.lines
    assert line.endswith(f"cannot reach a container engine at {engine.host}: No such file or directory")
