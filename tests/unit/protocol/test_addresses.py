"""Addresses: what is accepted, what is refused, and that text and value are one."""

import pytest

from scaler_protocol.addresses import ACCEPTED_FORMS, Address


@pytest.mark.parametrize(
    "text",
    [
        "tcp://127.0.0.1:8516",
        "tcp://node-1.example.org:1",
        "tcp://[::1]:0",
        "ipc:///tmp/scaler.sock",
        "tcp://0.0.0.0:65535",
    ],
)
def test_an_address_is_its_text(text):
    assert str(Address.from_string(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "localhost:8516",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:99999",
        "tcp://:8516",
        "udp://h:1",
        "tcp://::1:80",
        "ipc://",
        "tcp://h:p",
        "tcp://h:1 ",
    ],
)
def test_anything_else_is_refused_with_the_accepted_forms(text):
    with pytest.raises(ValueError, match="accepted are") as refused:
        Address.from_string(text)
    assert ACCEPTED_FORMS in str(refused.value)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", True),
        ("ipc://x", True),
        ("tcp://localhost:1", True),
        ("tcp://0.0.0.0:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(text, loopback):
    assert Address.from_string(text).is_loopback is loopback


def test_port_zero_cannot_be_connected_to():
    with pytest.raises(ValueError, match="port 0"):
        Address.from_string("tcp://127.0.0.1:0").connectable()


@pytest.mark.parametrize(
    ("listens", "reached", "seen"),
    [
        ("tcp://0.0.0.0:8517", "tcp://somehost:8516", "tcp://somehost:8517"),
        ("tcp://0.0.0.0:8517", "tcp://[::1]:8516", "tcp://[::1]:8517"),
        ("tcp://[::]:8517", "tcp://192.0.2.1:8516", "tcp://192.0.2.1:8517"),
        ("tcp://192.0.2.2:8517", "tcp://somehost:8516", "tcp://192.0.2.2:8517"),
        ("ipc:///tmp/s_object_storage", "ipc:///tmp/s", "ipc:///tmp/s_object_storage"),
        ("tcp://0.0.0.0:8517", "ipc:///tmp/s", "tcp://127.0.0.1:8517"),
        ("tcp://[::]:8517", "tcp://0.0.0.0:8516", "tcp://[::1]:8517"),
    ],
)
def test_who_listens_everywhere_is_found_where_the_peer_has_found_its_machine(listens, reached, seen):
    assert str(Address.from_string(listens).seen_from(Address.from_string(reached))) == seen
