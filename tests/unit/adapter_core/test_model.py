"""Which capabilities suit which request."""

import pytest

from scaler_adapter_core.model import describe, offers


@pytest.mark.parametrize(
    ("offered", "requested", "suits"),
    [
        ({}, {}, True),
        ({"gpu": 2}, {}, True),
        ({}, {"gpu": -1}, False),
        ({"gpu": 2}, {"gpu": -1}, True),
        ({"gpu": 2}, {"gpu": 2}, True),
        ({"gpu": 2}, {"gpu": 3}, False),
        ({"gpu": -1}, {"gpu": 100}, True),
        ({"gpu": 0}, {"gpu": 1}, False),
        ({"gpu": 2, "linux": -1}, {"gpu": 1, "fpga": -1}, False),
    ],
)
def test_a_name_and_enough_of_it_is_needed(offered, requested, suits):
    assert offers(offered, requested) is suits


def test_they_are_described_as_users_write_them():
    assert describe({"linux": -1, "gpu": 2}) == "gpu=2,linux"
