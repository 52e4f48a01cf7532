"""What the client refuses before it opens a connection."""

import inspect
import math

import pytest

from scaler_client.client import Client


def test_the_parameters_are_the_contracts():
    assert list(inspect.signature(Client).parameters) == [
        "address",
        "profiling",
        "timeout_seconds",
        "heartbeat_interval_seconds",
        "serializer",
        "stream_output",
        "object_storage_address",
    ]
    for method, names in [
        ("submit", ["fn", "args", "kwargs"]),
        ("submit_verbose", ["fn", "args", "kwargs", "capabilities"]),
        ("map", ["fn", "iterables", "capabilities"]),
        ("starmap", ["fn", "iterable", "capabilities"]),
    ]:
        assert list(inspect.signature(getattr(Client, method)).parameters)[1:] == names


def test_an_address_is_needed_outside_a_task():
    with pytest.raises(ValueError, match=r"No scheduler address provided.*not running inside a worker context"):
        Client()


@pytest.mark.parametrize("address", ["localhost:1", "http://a:1", "tcp://a", "tcp://a:0", "tcp://a:99999", ""])
def test_a_bad_address_is_refused(address):
    with pytest.raises(ValueError, match="address"):
        Client(address)
    with pytest.raises(ValueError, match="address"):
        Client("tcp://127.0.0.1:1", object_storage_address=address)


@pytest.mark.parametrize("name", ["timeout_seconds", "heartbeat_interval_seconds"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", None, True])
def test_a_bad_number_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Client("tcp://127.0.0.1:1", **{name: value})
