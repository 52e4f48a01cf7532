"""Some thousand inputs for every parser; millions by `hatch run fuzz`."""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_runtime.preload_spec import parse_preload_spec
from scaler_scheduler.policies.registry import parse_policy
from tests.fuzz.parsers import PARSERS

EXECUTIONS = {
    "arguments of the native adapter": 40,
    "arguments of the cluster": 40,
    "configuration files": 60,
    "files of objects": 200,
}
"""Of those that take milliseconds each."""


@pytest.mark.parametrize("name", PARSERS)
def test_only_documented_errors_are_raised(name):
    rng = Random(name)
    for _ in range(EXECUTIONS.get(name, 1500)):
        PARSERS[name].try_one(rng)


@given(st.lists(st.binary(max_size=256).map(lambda data: data + bytes(-len(data) % 8)), max_size=4))
def test_random_frames_are_no_packet(frames):
    for decode in (codec.decode, codec.decode_storage):
        with contextlib.suppress(ProtocolError):
            decode(frames)


@given(st.text(max_size=80))
@pytest.mark.parametrize("parse", [Address.from_string, parse_policy, parse_preload_spec])
def test_random_text_is_a_value_error_or_means_something(parse, text):
    with contextlib.suppress(ValueError):
        parse(text)
