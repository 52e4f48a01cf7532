"""Addresses beside a scheduler's."""

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.transport import BindError
from scaler_scheduler.listening import derived


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("tcp://127.0.0.1:8516", "tcp://127.0.0.1:8518"),
        ("tcp://[::1]:8516", "tcp://[::1]:8518"),
        ("ipc:///tmp/scheduler", "ipc:///tmp/scheduler_monitor"),
    ],
)
def test_a_monitor_is_two_ports_on_or_at_a_longer_path(base, expected):
    assert str(derived(Address.from_string(base), "monitor", 2)) == expected


def test_there_is_nothing_beyond_the_last_port():
    with pytest.raises(BindError, match="65535 is the last port"):
        derived(Address.from_string("tcp://127.0.0.1:65534"), "monitor", 2)
