"""One adapter for each tag, and a scheduler within reach of its containers."""

import uuid

import pytest

from scaler_adapter_container.server import hold, is_out_of_reach
from scaler_protocol.addresses import Address
from scaler_runtime.program import ProgramError
from tests.unit.adapter_container.fake_engine import a_config


def test_a_second_adapter_with_the_same_tag_is_refused_as_long_as_the_first_lives():
    tag = uuid.uuid4().hex
    with hold(tag):
        with pytest.raises(ProgramError, match=f"has the tag {tag}"):
            hold(tag)
        hold(uuid.uuid4().hex).close()
    hold(tag).close()


@pytest.mark.parametrize(
    ("address", "options", "is_out"),
    [
        ("tcp://127.0.0.1:1", {}, False),
        ("tcp://127.0.0.1:1", {"network": "bridge"}, True),
        ("tcp://10.0.0.1:1", {"network": "bridge"}, False),
        ("ipc:///run/scheduler", {"network": "bridge"}, False),
        ("tcp://127.0.0.1:1", {"network": "b", "address_for_workers": Address.from_string("tcp://host:1")}, False),
    ],
)
def test_a_loopback_address_is_out_of_reach_in_another_network(address, options, is_out):
    assert is_out_of_reach(a_config(address=address, **options)) is is_out
