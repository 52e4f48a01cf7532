"""Jobs through a real scheduler that has the container adapter start their workers, on podman."""

import pytest

from scaler import Client
from tests.engines.container_tasks import hold, read, variable
from tests.integration.commands import running, scheduler, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

POLICY = "allocate=even_load; scaling=vanilla(upper=1,cooldown=1)"
ADAPTER = "scaler_adapter_container"


def test_containers_come_with_the_load_and_go_with_it(engine, tmp_path):
    options = (*engine.options(), "--mounts", f"{tmp_path}:/data", "--max-workers", 4)
    with (
        scheduler(policy=POLICY) as (_, address),
        running(ADAPTER, address, *options) as adapter,
        Client(address) as client,
    ):
        futures = [client.submit(hold, "/data", str(number)) for number in range(4)]
        wait_until(lambda: all((tmp_path / str(number)).exists() for number in range(4)), lambda: adapter.output)
        (tmp_path / "go").touch()
        assert len({future.result() for future in futures}) == 4
        wait_until(lambda: not engine.containers(), lambda: adapter.output)
        assert "is lost" not in adapter.output


def test_a_container_has_what_the_options_say(engine, tmp_path):
    (tmp_path / "file").write_text("of this machine")
    tmp_path.chmod(0o755)
    options = ("--workers-per-group", 2, "--memory", "300m", "--cpus", "0.5", "--shm-size", "8m", "--user", "nobody")
    policy = "allocate=even_load; scaling=vanilla(cooldown=1000)"
    more = ("--mounts", f"{tmp_path}:/data:ro", "--environment", "COLOUR=blue,green", "--labels", "team=a")
    with (
        scheduler(policy=policy) as (_, address),
        running(ADAPTER, address, *engine.options(), *options, *more, "--max-workers", 2, "-pwc", "gpu=1"),
        Client(address) as client,
    ):
        assert client.submit(read, "/data/file").result() == "of this machine"
        assert client.submit(variable, "COLOUR").result() == "blue,green"
        (container,) = engine.containers()
        assert container["Labels"]["team"] == "a"
        with engine.service.client() as api:
            made = api.inspect_container(container["Id"])
        host = made["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (300 << 20, 300 << 20, 500_000_000)
        assert (host["ShmSize"], made["Config"]["User"]) == (8 << 20, "nobody")
        assert not host["AutoRemove"]
