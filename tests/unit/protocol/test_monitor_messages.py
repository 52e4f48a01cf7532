"""Reports for monitors survive the wire; anything else is a ProtocolError and nothing worse."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.errors import ProtocolError
from scaler_protocol.monitor_messages import Count, MonitorReport, WorkerFigures

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
UNSIGNED = {
    field: st.integers(0, 2**32 - 1) for field in ("places", "outstanding", "queued", "suspended", "protocol_version")
}
VALUES = {
    int: st.integers(0, 2**64 - 1),
    str: TEXT,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
}


def records(record, **fixed):
    chosen = {
        field.name: fixed.get(field.name, UNSIGNED.get(field.name, VALUES.get(field.type)))
        for field in dataclasses.fields(record)
    }
    return st.builds(record, **chosen)


COUNTS = st.lists(records(Count), max_size=3)
REPORTS = records(
    MonitorReport,
    **dict.fromkeys(("tasks", "sent", "received", "clients"), COUNTS),
    workers=st.lists(records(WorkerFigures), max_size=3),
    product=st.just(m.PRODUCT),
    protocol_version=st.just(m.PROTOCOL_VERSION),
)


@given(REPORTS)
def test_every_report_survives_the_wire(report):
    assert codec.decode_monitor(codec.encode_monitor(report)) == report


@given(REPORTS, st.data())
def test_damaged_reports_are_protocol_errors(report, data):
    frame = bytearray(codec.encode_monitor(report))
    for _ in range(data.draw(st.integers(1, 8))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    del frame[data.draw(st.integers(0, len(frame))) :]
    try:
        decoded = codec.decode_monitor(bytes(frame))
    except ProtocolError:
        return
    assert isinstance(decoded, MonitorReport)


@given(st.binary(max_size=200))
def test_random_bytes_are_protocol_errors(frame):
    with pytest.raises(ProtocolError):
        codec.decode_monitor(frame)


@pytest.mark.parametrize("frame", [bytes(8), bytes(4096), b"\xff" * 4096])
def test_what_happens_to_be_an_empty_message_is_not_a_report(frame):
    with pytest.raises(ProtocolError):
        codec.decode_monitor(frame)


@pytest.mark.parametrize("change", [{"product": "other"}, {"protocol_version": m.PROTOCOL_VERSION + 1}])
@given(REPORTS)
def test_a_report_of_another_product_or_version_is_a_protocol_error(change, report):
    with pytest.raises(ProtocolError):
        codec.decode_monitor(codec.encode_monitor(dataclasses.replace(report, **change)))


@given(REPORTS)
def test_a_number_that_does_not_fit_is_a_protocol_error(report):
    with pytest.raises(ProtocolError):
        codec.encode_monitor(dataclasses.replace(report, rss=-1))
