"""Users count workers, adapters groups of them."""

import pytest

from scaler_adapter_core.group_size import most_groups
from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError
from scaler_runtime.options import WorkerAdapterConfig


def adapter(max_workers):
    return WorkerAdapterConfig(Address.from_string("tcp://10.0.0.1:8516"), max_workers=max_workers)


@pytest.mark.parametrize(("max_workers", "groups"), [(-1, -1), (0, 0), (4, 1), (7, 1), (8, 2)])
def test_a_part_of_a_group_is_none(max_workers, groups):
    assert most_groups(adapter(max_workers), 4) == groups


def test_an_adapter_that_could_not_have_a_single_group_is_refused():
    with pytest.raises(ConfigError, match="max_workers must be at least workers_per_group, 4, not 3"):
        most_groups(adapter(3), 4)
