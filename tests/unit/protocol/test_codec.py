"""Messages survive the wire; anything else is a ProtocolError and nothing worse."""

import dataclasses
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.batch import (
    F64,
    MADE_HERE,
    U8,
    U32,
    U64,
    Encoding,
    Status,
    awaited_runs,
    column,
    pack_stored,
    unpack_stored,
)
from scaler_protocol.errors import ProtocolError
from scaler_protocol.storage_messages import MAX_NAME_BYTES

UNSIGNED_32 = st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
CONSISTENT = (
    m.Register,
    m.SubmitBatch,
    m.CancelTasks,
    m.AssignSlice,
    m.TaskResults,
    m.RecallSlices,
    m.SlicesReturned,
)
"""What contradicts itself when its fields are drawn one by one."""


def values_of(hint):
    if dataclasses.is_dataclass(hint):
        return records(hint)
    if get_origin(hint) is list:
        return st.lists(values_of(get_args(hint)[0]), max_size=3)
    if get_origin(hint) is dict:
        return st.dictionaries(TEXT, st.integers(-1, 2**40), max_size=3)
    if hint is float:
        return st.floats(allow_nan=False)
    return {int: st.integers(0, 2**31 - 1), str: TEXT, bytes: st.binary(max_size=40), bool: st.booleans()}[hint]


def records(record):
    hints = get_type_hints(record)
    return st.builds(record, **{f.name: values_of(hints[f.name]) for f in dataclasses.fields(record)})


@st.composite
def batches(draw):
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    sizes = [draw(st.integers(0, 30)) for _ in counts]
    return m.SubmitBatch(
        draw(UNSIGNED_32),
        b"f" * 16,
        sum(counts),
        Encoding.VALUES,
        column(U32, counts),
        column(U32, sizes),
        bytes(sum(sizes)),
    )


MESSAGES = st.one_of(*[records(record) for record in get_args(m.Message) if record not in CONSISTENT], batches())
PACKETS = st.builds(m.Packet, UNSIGNED_32, UNSIGNED_32, st.lists(MESSAGES, max_size=4))


@given(PACKETS)
def test_every_packet_survives_the_wire(packet):
    assert codec.decode(codec.encode(packet)) == packet


@given(PACKETS, st.data())
def test_damaged_packets_are_protocol_errors(packet, data):
    frames = [bytearray(frame) for frame in codec.encode(packet)]
    for _ in range(data.draw(st.integers(1, 8))):
        frame = data.draw(st.sampled_from(frames))
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del frames[-1][data.draw(st.integers(0, len(frames[-1]))) :]
    try:
        decoded = codec.decode([bytes(frame) for frame in frames])
    except ProtocolError:
        return
    assert isinstance(decoded, m.Packet)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_random_bytes_are_protocol_errors(frames):
    with pytest.raises(ProtocolError):
        codec.decode([b"\xff" * 8, *frames])


@pytest.mark.parametrize("frame", [b"", b"1234567", bytes(4) + b"\1\0\0\0", bytes(4) + b"\xff\xff\xff\x7f" + bytes(8)])
def test_a_frame_that_ends_before_its_time_is_a_protocol_error(frame):
    with pytest.raises(ProtocolError):
        codec.decode([frame])


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"block_sizes": column(U32, [3, 4])},
        {"block_counts": column(U32, [2, 0])},
        {"block_counts": b"abc"},
        {"encoding": 9},
        {"encoding": Encoding.CALL, "block_counts": column(U32, [1, 1])},
        {"payload": b"too long for its blocks"},
    ],
)
def test_a_batch_that_contradicts_itself_is_a_protocol_error(change):
    fine = m.SubmitBatch(1, b"f" * 16, 4, Encoding.VALUES, column(U32, [2, 2]), column(U32, [3, 3]), b"abcdef")
    codec.decode(codec.encode(m.Packet(1, 0, [fine])))

    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [dataclasses.replace(fine, **change)])))


@pytest.mark.parametrize(
    "change",
    [
        {"starts": b""},
        {"starts": column(U32, [1, 2])},
        {"counts": column(U32, [2])},
        {"counts": column(U32, [0])},
        {"counts": b"abc"},
        {"statuses": column(U8, [200])},
        {"statuses": column(U8, [0, 0])},
        {"sizes": column(U32, [3, 0])},
        {"payload": b""},
        {"durations": b"x"},
        {"memory": bytes(4)},
        {"cpu": bytes(16)},
        {"starts": b"", "counts": b"", "statuses": b"", "sizes": b"", "durations": b"", "payload": b""},
    ],
)
def test_results_that_contradict_themselves_are_a_protocol_error(change):
    one = column(U32, [1])
    fine = m.TaskResults(1, b"c" * 16, 1, one, one, b"\0", column(U32, [3]), bytes(8), b"abc")
    codec.decode(codec.encode(m.Packet(1, 0, [fine])))

    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [dataclasses.replace(fine, **change)])))


def test_a_slice_outside_its_blocks_is_a_protocol_error():
    fine = m.AssignSlice(
        1, b"c" * 16, 1, b"f" * 16, 3, 5, 2, 0, Encoding.VALUES, False, column(U32, [4]), column(U32, [1]), b"x"
    )
    codec.decode(codec.encode(m.Packet(1, 0, [fine])))

    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [dataclasses.replace(fine, stop=7)])))


@pytest.mark.parametrize("finished", [[1], [0, 5], [3, 2], [0, 1, 0, 1]])
def test_finished_tasks_are_ordered_pairs_inside_their_batch(finished):
    one = column(U32, [4])
    fine = m.SubmitBatch(1, b"f" * 16, 4, Encoding.VALUES, one, one, b"abcd", finished=column(U32, [0, 1, 2, 4]))
    codec.decode(codec.encode(m.Packet(1, 0, [fine])))

    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [dataclasses.replace(fine, finished=column(U32, finished))])))


def test_cancelled_runs_need_as_many_starts_as_counts():
    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [m.CancelTasks(1, column(U32, [1, 2]), column(U32, [1]))])))


def test_a_packet_of_too_many_messages_is_a_protocol_error():
    frames = codec.encode(m.Packet(0, 0, [m.Heartbeat()] * (codec.MAX_BODIES + 1)))

    with pytest.raises(ProtocolError, match="at most"):
        codec.decode(frames)


def test_a_list_of_too_many_items_is_a_protocol_error():
    frames = codec.encode(m.Packet(0, 0, [m.AbandonBatches([1] * (codec.MAX_ITEMS + 1))]))

    with pytest.raises(ProtocolError, match="at most"):
        codec.decode(frames)


def test_a_text_that_utf8_cannot_hold_is_sent_as_far_as_it_can():
    (message,) = codec.decode(codec.encode(m.Packet(0, 0, [m.Leave("bad \ud800 end")]))).messages

    assert message.reason == "bad ? end"


def test_limits_need_as_many_numbers_as_slices():
    with pytest.raises(ProtocolError):
        codec.decode(codec.encode(m.Packet(1, 0, [m.RecallSlices(column(U64, [1, 2]), column(U32, [1]))])))


def test_a_value_that_does_not_fit_its_field_is_a_protocol_error():
    with pytest.raises(ProtocolError):
        codec.encode(m.Packet(1, 0, [m.AbandonBatches([-1])]))


# ---- large payloads


def test_a_large_payload_takes_several_frames(monkeypatch):
    monkeypatch.setattr(codec, "PART_BYTES", 10)
    messages = [
        m.DefineFunction(b"f" * 16, "f", bytes(range(25))),
        m.Heartbeat(),
        m.DefineFunction(b"g" * 16, "g", b""),
        m.DefineFunction(b"h" * 16, "h", b"0123456789"),
    ]
    packet = m.Packet(1, 0, messages)

    frames = codec.encode(packet)

    assert [len(frame) for frame in frames[1:]] == [10, 10, 5, 0, 10]
    assert codec.decode(frames) == packet


def test_payloads_that_are_not_large_take_one_frame_each_without_saying_so():
    packet = m.Packet(1, 0, [m.DefineFunction(b"f" * 16, "f", b"x" * 1000)])
    (control, payload) = codec.encode(packet)
    assert payload == b"x" * 1000
    assert len(control) < 200


@pytest.mark.parametrize("counts", [[1], [2, 2], [3, 0], [0, 3], [2, 0xFFFF_FFFF]])
def test_frames_that_do_not_match_are_a_protocol_error(monkeypatch, counts):
    monkeypatch.setattr(codec, "PART_BYTES", 10)
    packet = m.Packet(1, 0, [m.DefineFunction(b"f" * 16, "f", bytes(15)), m.DefineFunction(b"g" * 16, "g", b"1")])
    frames = codec.encode(packet)
    assert frames[0].count(column(U32, [2, 1])) == 1

    wrong = column(U32, counts).ljust(8, b"\0")
    with pytest.raises(ProtocolError):
        codec.decode([frames[0].replace(column(U32, [2, 1]), wrong), *frames[1:]])


# ---- what tasks wait for


def linked(**change):
    two = column(U32, [1, 1])
    batch = m.SubmitBatch(
        3,
        b"f" * 16,
        2,
        Encoding.LINKED,
        two,
        column(U32, [3, 3]),
        b"abcdef",
        dependency_counts=column(U32, [2, 0]),
        dependency_batches=column(U64, [1, 2]),
        dependency_tasks=column(U32, [0, 5]),
        graph=7,
        graph_ready=1,
    )
    return dataclasses.replace(batch, **change)


def given(**change):
    two = column(U32, [1, 1])
    assigned = m.AssignSlice(
        1,
        b"c" * 16,
        3,
        b"f" * 16,
        0,
        2,
        0,
        0,
        Encoding.LINKED,
        False,
        two,
        column(U32, [3, 3]),
        b"abcdef" + b"run" + b"other",
        dependency_counts=column(U32, [2, 1]),
        dependency_statuses=bytes([Status.VALUES, Status.STORED, Status.VALUES]),
        dependency_positions=column(U32, [4, 0, 2]),
        dependency_sizes=column(U32, [3, 5, 0]),
        dependency_repeats=column(U32, [0, 0, 1]),
    )
    return dataclasses.replace(assigned, **change)


def survives(message):
    packet = m.Packet(1, 0, [message])
    return codec.decode(codec.encode(packet)) == packet


def test_what_tasks_wait_for_survives_the_wire():
    assert survives(linked())
    assert survives(given())
    assert survives(given(dependency_repeats=b"", dependency_sizes=column(U32, [3, 2, 3])))


def test_a_result_that_several_need_is_found_where_it_lies():
    assert [bytes(run) for run in awaited_runs(given())] == [b"run", b"other", b"run"]


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": Encoding.CALL},
        {"dependency_counts": column(U32, [2])},
        {"dependency_counts": column(U32, [2, 1])},
        {"dependency_counts": column(U32, [0xFFFF_FFFF, 3])},
        {"dependency_counts": b"abc"},
        {"dependency_counts": b""},
        {"dependency_batches": column(U64, [1])},
        {"dependency_batches": column(U32, [1])},
        {"dependency_tasks": column(U32, [1, 2, 3])},
        {"dependency_tasks": b""},
    ],
)
def test_dependencies_that_contradict_themselves_are_a_protocol_error(change):
    with pytest.raises(ProtocolError):
        survives(linked(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"dependency_counts": b""},
        {"dependency_counts": column(U32, [3, 1])},
        {"dependency_statuses": bytes([Status.VALUES, Status.EXCEPTION, Status.VALUES])},
        {"dependency_statuses": bytes([Status.VALUES, Status.DEPENDENCY_OVER, Status.VALUES])},
        {"dependency_statuses": bytes([Status.VALUES])},
        {"dependency_positions": column(U32, [1, 2])},
        {"dependency_sizes": column(U32, [3, 5])},
        {"dependency_sizes": column(U32, [3, 4, 0])},
        {"dependency_sizes": column(U32, [0xFFFF_FFFF, 5, 0])},
        {"dependency_repeats": column(U32, [0, 0])},
        {"dependency_repeats": column(U32, [0, 0, 3])},
        {"dependency_repeats": column(U32, [0, 0, 9])},
        {"dependency_repeats": column(U32, [0, 1, 2])},
        {"dependency_repeats": column(U32, [0, 1, 1])},
        {"dependency_repeats": column(U32, [0, 0, 1, 1])},
        {"payload": b"abcdef"},
    ],
)
def test_results_for_a_slice_that_contradict_themselves_are_a_protocol_error(change):
    with pytest.raises(ProtocolError):
        survives(given(**change))


# ---- stored results, and what tasks took


def outcome(**change):
    two = column(U32, [1, 1])
    results = m.TaskResults(
        1,
        b"c" * 16,
        1,
        column(U32, [0, 1]),
        two,
        bytes([Status.STORED, Status.VALUE]),
        column(U32, [11, 1]),
        bytes(16),
        pack_stored(70_000, b"key") + b"v",
        memory=column(U64, [5, 6]),
        cpu=column(F64, [0.5, 0.25]),
    )
    return dataclasses.replace(results, **change)


def test_stored_results_and_what_tasks_took_survive_the_wire():
    assert survives(outcome())
    assert survives(outcome(memory=b"", cpu=b""))


@pytest.mark.parametrize(
    "change",
    [
        {"counts": column(U32, [2, 1]), "starts": column(U32, [0, 2])},
        {"counts": column(U32, [1, 2])},
        {"memory": column(U64, [5])},
        {"memory": column(U32, [5])},
        {"cpu": column(F64, [0.5, 0.5, 0.5])},
        {"cpu": b"half"},
    ],
)
def test_outcomes_that_contradict_themselves_are_a_protocol_error(change):
    with pytest.raises(ProtocolError):
        survives(outcome(**change))


def test_where_a_stored_result_lies_can_be_read():
    assert unpack_stored(pack_stored(70_000, b"key")) == (70_000, b"key")


@pytest.mark.parametrize("run", [b"", b"1234567", b"12345678", bytes(8) + bytes(MAX_NAME_BYTES + 1)])
def test_what_names_no_object_is_a_protocol_error(run):
    with pytest.raises(ProtocolError):
        unpack_stored(run)


def made_here(**change):
    two = column(U32, [1, 1, 1])
    assigned = m.AssignSlice(
        1,
        b"c" * 16,
        3,
        b"f" * 16,
        5,
        7,
        4,
        0,
        Encoding.LINKED,
        False,
        two,
        column(U32, [1, 1, 1]),
        b"abc" + b"run",
        dependency_counts=column(U32, [0, 1, 2]),
        dependency_statuses=bytes([Status.VALUE, MADE_HERE, Status.VALUE]),
        dependency_positions=column(U32, [0, 5, 0]),
        dependency_sizes=column(U32, [3, 0, 0]),
        dependency_repeats=column(U32, [0, 0, 1]),
    )
    return dataclasses.replace(assigned, **change)


def test_what_a_slice_makes_for_itself_survives_the_wire():
    assert survives(made_here())


@pytest.mark.parametrize(
    "change",
    [
        {"dependency_positions": column(U32, [0, 6, 0])},  # itself
        {"dependency_positions": column(U32, [0, 7, 0])},
        {"dependency_positions": column(U32, [0, 4, 0])},  # not of the slice
        {"dependency_counts": column(U32, [0, 2, 1])},  # for the first task of the slice
        {"dependency_sizes": column(U32, [2, 1, 0]), "dependency_repeats": b""},
    ],
)
def test_what_a_slice_cannot_make_for_itself_is_a_protocol_error(change):
    with pytest.raises(ProtocolError):
        survives(made_here(**change))
