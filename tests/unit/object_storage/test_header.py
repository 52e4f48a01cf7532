"""A header is read back, or it is none."""

from hypothesis import given
from hypothesis import strategies as st

from scaler_object_storage.header import HEADER_BYTES, Header

NAMES = st.binary(min_size=1, max_size=64)
HEADERS = st.builds(Header, NAMES, NAMES, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


@given(HEADERS)
def test_a_header_is_read_back(header):
    data = header.pack()

    assert len(data) == HEADER_BYTES
    assert Header.unpack(data) == header


@given(HEADERS, st.integers(0, 163), st.integers(1, 255))
def test_a_damaged_header_is_none(header, position, change):
    data = bytearray(header.pack())
    data[position] ^= change

    assert Header.unpack(bytes(data)) is None


@given(st.binary(max_size=HEADER_BYTES + 10))
def test_other_bytes_are_no_header(data):
    assert Header.unpack(data) is None


def test_a_file_that_was_only_allocated_has_no_header():
    assert Header.unpack(bytes(HEADER_BYTES)) is None
