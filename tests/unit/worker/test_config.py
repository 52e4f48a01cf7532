"""The options of the program that runs one group."""

import pytest

from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.config import ConfigError
from scaler_worker.config import WorkerGroupConfig

ADDRESS = Address.from_string("tcp://127.0.0.1:8516")


def test_defaults():
    config = WorkerGroupConfig(ADDRESS, "g")

    assert (config.name, config.num_of_workers, config.preload) == (short_host_name(), 1, None)


def test_a_group_has_a_worker():
    with pytest.raises(ConfigError, match="num_of_workers"):
        WorkerGroupConfig(ADDRESS, "g", num_of_workers=0)
