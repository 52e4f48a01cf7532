"""Messages of the object storage survive the wire; anything else is a ProtocolError and nothing worse."""

import dataclasses
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_protocol import codec
from scaler_protocol import storage_messages as sm
from scaler_protocol.errors import ProtocolError

NAMES = st.binary(min_size=1, max_size=sm.MAX_NAME_BYTES)
SHARES = st.builds(sm.OwnerShare, NAMES, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
VALUES = {
    int: st.integers(0, 2**32 - 1),
    str: st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20),
    bool: st.booleans(),
    bytes: NAMES,
    bytes | memoryview: st.binary(max_size=40),
    list[bytes]: st.lists(NAMES, max_size=3),
    list[sm.OwnerShare]: st.lists(SHARES, max_size=3),
}
MESSAGES = st.one_of(
    [
        st.builds(record, **{name: VALUES[hint] for name, hint in get_type_hints(record).items()})
        for record in get_args(sm.StorageMessage)
    ]
)
PACKETS = st.builds(sm.StoragePacket, st.lists(MESSAGES, max_size=4))


@given(PACKETS)
def test_every_packet_survives_the_wire(packet):
    assert codec.decode_storage(codec.encode_storage(packet)) == packet


def test_a_payload_may_be_a_view():
    view = memoryview(b"0123456789")[2:5]

    packet = sm.StoragePacket([sm.UploadChunk(1, b"u" * 16, 0, view)])

    assert codec.decode_storage(codec.encode_storage(packet)).messages[0].payload == b"234"


@given(PACKETS, st.data())
def test_damaged_packets_are_protocol_errors(packet, data):
    frames = [bytearray(frame) for frame in codec.encode_storage(packet)]
    for _ in range(data.draw(st.integers(1, 8))):
        frame = data.draw(st.sampled_from(frames))
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del frames[-1][data.draw(st.integers(0, len(frames[-1]))) :]
    try:
        decoded = codec.decode_storage([bytes(frame) for frame in frames])
    except ProtocolError:
        return
    assert isinstance(decoded, sm.StoragePacket)


@pytest.mark.parametrize("name", [b"", bytes(sm.MAX_NAME_BYTES + 1)])
@pytest.mark.parametrize(
    "message",
    [
        sm.AnnounceObjects(1, [b"k", b"k"]),
        sm.DeleteObjects(1, [b"k", b"k"]),
        sm.DeleteOwner(1, b"o"),
        sm.AwaitObject(1, b"k", True),
        sm.ReadChunk(1, b"k", 1, 0, 1),
        sm.BeginUpload(1, b"u", b"k", b"o", 1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_names_that_are_none_are_protocol_errors(message, name):
    codec.decode_storage(codec.encode_storage(sm.StoragePacket([message])))
    for field in {"key", "owner", "keys"} & {field.name for field in dataclasses.fields(message)}:
        broken = dataclasses.replace(message, **{field: [b"k", name] if field == "keys" else name})

        with pytest.raises(ProtocolError):
            codec.decode_storage(codec.encode_storage(sm.StoragePacket([broken])))


def test_a_message_of_the_scheduler_is_none_of_the_storage():
    from scaler_protocol import messages as m

    frames = codec.encode(m.Packet(1, 0, [m.DefineFunction(b"f" * 16, "name", b"payload")]))
    try:
        packet = codec.decode_storage(frames)
    except ProtocolError:
        return
    assert isinstance(packet, sm.StoragePacket)


def test_figures_add_up():
    figures = sm.Statistics(1, 0, 0, 0, 0, [sm.OwnerShare(b"a", 2, 30), sm.OwnerShare(b"b", 1, 5)])

    assert (figures.objects, figures.size) == (3, 35)
