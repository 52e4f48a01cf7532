"""The options of `scaler_cluster`."""

import pickle

import pytest

from scaler_cluster.config import ClusterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError, option_fields
from scaler_runtime.options import WorkerNames

ADDRESS = Address("tcp", "127.0.0.1", 8516)


def test_keys_and_short_flags():
    assert [(item.key, item.option.short) for item in option_fields(ClusterConfig)][:6] == [
        ("scheduler_address", ""),
        ("object_storage_address", "-osa"),
        ("preload", ""),
        ("worker_names", "-wn"),
        ("num_of_workers", "-n"),
        ("per_worker_capabilities", "-pwc"),
    ]


def test_names_and_workers_are_equally_many():
    config = ClusterConfig(ADDRESS, worker_names=WorkerNames(("a", "b")), num_of_workers=2)
    assert pickle.loads(pickle.dumps(config)) == config
    assert ClusterConfig(ADDRESS, num_of_workers=0).num_of_workers == 0
    with pytest.raises(ConfigError, match="worker_names has 2 names, num_of_workers is 3") as refused:
        ClusterConfig(ADDRESS, worker_names=WorkerNames(("a", "b")), num_of_workers=3)
    assert refused.value.keys == ("worker_names", "num_of_workers")
    with pytest.raises(ConfigError, match="num_of_workers must be a whole number >= 0, not -1"):
        ClusterConfig(ADDRESS, num_of_workers=-1)


def test_the_command_line_makes_a_configuration():
    command = Command("cluster", "cluster", ClusterConfig, {})
    config = parse_command(command, [str(ADDRESS), "-wn", "a,b", "-n", "2"]).config
    assert config == ClusterConfig(ADDRESS, worker_names=WorkerNames(("a", "b")), num_of_workers=2)
