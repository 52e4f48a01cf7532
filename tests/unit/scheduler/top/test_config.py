"""The options of the monitor: names, defaults, rules."""

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError, option_fields
from scaler_scheduler.top.config import TopConfig

ADDRESS = Address("tcp", "127.0.0.1", 8518)


def test_keys_short_flags_and_defaults():
    address, timeout = option_fields(TopConfig)

    assert (address.key, address.option.positional) == ("monitor_address", True)
    assert (timeout.key, timeout.option.short, timeout.default) == ("timeout", "-t", 5)


@pytest.mark.parametrize("timeout", [0, -1, 1.5])
def test_the_timeout_is_a_whole_number_of_seconds(timeout):
    with pytest.raises(ConfigError, match="timeout must be a whole number >= 1"):
        TopConfig(ADDRESS, timeout)


def test_port_0_can_not_be_connected_to():
    with pytest.raises(ConfigError, match="monitor_address must be an address with a port from 1 on"):
        TopConfig(ADDRESS.with_port(0))


def test_the_address_may_come_from_the_section_top(tmp_path):
    file = tmp_path / "scaler.toml"
    file.write_text('[top]\nmonitor_address = "tcp://127.0.0.1:8518"\ntimeout = 9\n')

    config = parse_command(Command("scaler_top", "top", TopConfig, {}), ["--config", str(file)]).config

    assert config == TopConfig(ADDRESS, 9)
