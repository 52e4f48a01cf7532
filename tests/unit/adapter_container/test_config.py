"""What options are allowed, and what follows from them."""

import pytest

from scaler_adapter_container.config import ContainerConfig, ContainerWorkerAdapterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError
from tests.unit.adapter_container.fake_engine import a_config

COMMAND = Command("scaler_worker_adapter_container", "container_worker_adapter", ContainerWorkerAdapterConfig, {})


def parse(*arguments):
    return parse_command(COMMAND, arguments).config


def test_the_command_line_is_read():
    config = parse(
        *("tcp://1.2.3.4:5", "--image", "x:1", "--mounts", "/a:/b:ro", "c:/d", "--environment", "A=1", "B=x=y"),
        *("--cpus", "0.5", "--memory", "512m", "--shm-size", "1G", "--labels", "team=a", "--workers-per-group", "2"),
        *("--max-workers", "5"),
    )
    container = config.container_config
    assert container.mounts == ("/a:/b:ro", "c:/d")
    assert container.environment == ("A=1", "B=x=y")
    assert (container.nano_cpus, container.memory_bytes, container.shm_bytes) == (500_000_000, 512 << 20, 1 << 30)
    assert config.max_groups == 2
    assert config.address_for_workers == Address.from_string("tcp://1.2.3.4:5")


def test_without_limits_there_are_none():
    container = ContainerConfig("x")
    assert (container.nano_cpus, container.memory_bytes, container.shm_bytes) == (None, None, None)


def test_a_file_gives_lists(tmp_path):
    file = tmp_path / "scaler.toml"
    file.write_text(
        '[container_worker_adapter]\nimage = "x"\nmounts = ["/a:/b", "/c:/d"]\nscheduler_address = "ipc:///s"\n'
    )
    assert parse("--config", str(file)).container_config.mounts == ("/a:/b", "/c:/d")


def test_python_may_give_lists():
    assert ContainerConfig("x", labels=["a=b"]).labels == ("a=b",)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image": ""}, "image is missing"),
        ({"pull": "sometimes"}, "pull"),
        ({"mounts": ("/only",)}, "mounts"),
        ({"mounts": ("a:relative",)}, "mounts"),
        ({"environment": ("NAME",)}, "environment"),
        ({"labels": ("=x",)}, "labels"),
        ({"cpus": "0"}, "cpus"),
        ({"cpus": "many"}, "cpus"),
        ({"cpus": "nan"}, "cpus"),
        ({"memory": "1x"}, "memory"),
        ({"memory": "0"}, "memory"),
        ({"shm_size": ""}, "shm_size"),
        ({"workers_per_group": 0}, "workers_per_group"),
        ({"tag": "a b"}, "tag"),
        ({"address_for_workers": Address.from_string("tcp://h:0")}, "address_for_workers"),
    ],
)
def test_what_is_not_allowed_is_named(options, named):
    with pytest.raises(ConfigError, match=named):
        ContainerConfig(**{"image": "x", **options})


@pytest.mark.parametrize(("workers", "each", "groups"), [(-1, 3, -1), (0, 3, 0), (3, 3, 1), (8, 3, 2)])
def test_workers_are_counted_in_groups(workers, each, groups):
    assert a_config(max_workers=workers, workers_per_group=each).max_groups == groups


def test_less_room_than_one_group_is_refused():
    with pytest.raises(ConfigError, match="workers_per_group"):
        a_config(max_workers=2, workers_per_group=3)
