"""Messages to frames and back. The only file that imports pycapnp; it knows fields and types, not what messages mean.

pycapnp's `_get_by_field` and `_set_by_field` are two to four times faster than attributes: they decide the cost.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import capnp

from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.batch import U32, check_batch, check_results, check_slice, column, numbers
from scaler_protocol.errors import ProtocolError
from scaler_protocol.monitor_messages import MonitorReport

MAX_PACKET_BYTES = 64 << 20
"""Largest first frame that is looked at; payload frames are bounded by the socket."""

PART_BYTES = 32 << 20
"""A payload of more than this takes several frames: the socket refuses one of more than 64 MiB."""

MAX_CAPABILITIES = 256
MAX_BODIES = 4096
MAX_ITEMS = 1 << 17
"""Most messages of a packet, and most items of a list in one: a packet of many small ones takes long to read."""

_MAX_HEARTBEAT_SECONDS = 86_400

EMPTY_PACKET = m.Packet(0, 0, [])


def encode(packet: m.Packet) -> list[bytes]:
    """Return the frames of one packet: the Cap'n Proto message, then one payload frame for each message that has one.

    A large payload takes several frames, and then the packet says of each how many it has.

    Raises `ProtocolError` for values that do not fit the schema (a number out of range, a text where bytes belong).
    """
    return _PACKETS.encode(packet)


def decode(frames: Sequence[bytes]) -> m.Packet:
    """Return the packet in `frames`; the first must be real `bytes`. Raises `ProtocolError` and nothing else."""
    return _PACKETS.decode(frames)


def encode_storage(packet: sm.StoragePacket) -> list[bytes]:
    """Do what `encode` does, for the object storage."""
    return _storage_packets().encode(packet)


def decode_storage(frames: Sequence[bytes]) -> sm.StoragePacket:
    """Do what `decode` does, for the object storage."""
    return _storage_packets().decode(frames)


def encode_monitor(report: MonitorReport) -> bytes:
    """Return the one frame of a report. Raises `ProtocolError` as `encode` does."""
    return _monitor_reports().encode(report)


def decode_monitor(frame: bytes) -> MonitorReport:
    """Return the report in a frame. Raises `ProtocolError` and nothing else, also for a report of another product."""
    report = _monitor_reports().decode(frame)
    if (report.product, report.protocol_version) != (m.PRODUCT, m.PROTOCOL_VERSION):
        raise ProtocolError(f"a report of {report.product!r} protocol {report.protocol_version}")
    return report


_CAPNP_ERRORS = (
    capnp.KjException,
    ValueError,
    RuntimeError,
    UnicodeDecodeError,
    SystemError,
    TypeError,
    OverflowError,
    StopIteration,  # pycapnp's word for what ends before its time, where the error's text has EOF in it
)
# what random, truncated and bit-flipped bytes were seen to raise while being read

Encode = Callable[[Any, Any], None]  # (builder, value)
Decode = Callable[[Any], Any]  # what the reader has -> value
PacketT = TypeVar("PacketT", m.Packet, sm.StoragePacket)
RecordT = TypeVar("RecordT")


class _Packets(Generic[PacketT]):
    """One schema: a packet of numbers and of bodies, each body one of the `messages`."""

    def __init__(self, struct: Any, body: Any, record: type[PacketT], messages: Any) -> None:
        self._struct = struct
        self._record: Callable[..., PacketT] = record
        self._numbers = [(f.name, struct.schema.fields[_camel(f.name)]) for f in fields(record) if f.name != "messages"]
        self._bodies = struct.schema.fields["bodies"]
        self._frame_counts = struct.schema.fields.get("frameCounts")
        names = body.schema.fields
        self._kind_of = {
            message: _Kind(message, names[message.__name__[0].lower() + message.__name__[1:]])
            for message in get_args(messages)
        }
        self._kind_named = {kind.name: kind for kind in self._kind_of.values()}

    def encode(self, packet: PacketT) -> list[bytes]:
        builder = self._struct.new_message()
        frames = [b""]
        is_split = False
        try:
            for name, field in self._numbers:
                builder._set_by_field(field, getattr(packet, name))
            bodies = builder.init("bodies", len(packet.messages))
            for index, message in enumerate(packet.messages):
                kind = self._kind_of[type(message)]
                kind.write(bodies[index]._init_by_field(kind.field), message)
                if kind.payload_of is not None:
                    payload = kind.payload_of(message)
                    frames.append(payload)
                    is_split |= len(payload) > PART_BYTES
            if is_split and self._frame_counts is not None:
                parts = [_parts(payload) for payload in frames[1:]]
                frames = [b"", *chain.from_iterable(parts)]
                builder._set_by_field(self._frame_counts, column(U32, list(map(len, parts))))
            frames[0] = builder.to_bytes()
        except _CAPNP_ERRORS as error:
            raise ProtocolError(f"a message cannot be written: {error}") from error
        return frames

    def decode(self, frames: Sequence[bytes]) -> PacketT:
        if not frames:
            raise ProtocolError("a message without frames")
        packet = _read(self._struct, frames[0], self._take, frames)
        for message in packet.messages:
            check = _CHECKS.get(type(message))
            if check is not None:
                check(message)
        return packet

    def _take(self, reader: Any, frames: Sequence[bytes]) -> PacketT:
        take: Decode = reader._get_by_field
        counts = b"" if self._frame_counts is None else take(self._frame_counts)
        payloads = _joined(frames, numbers(U32, counts)) if counts else iter(frames[1:])
        bodies = _bounded(take(self._bodies), MAX_BODIES)
        packet = self._record(
            *[take(field) for _, field in self._numbers],
            [self._read_body(body, payloads) for body in bodies],
        )
        if next(payloads, None) is not None:
            raise ProtocolError("more payload frames than messages that own one")
        return packet

    def _read_body(self, body: Any, payloads: Iterator[bytes]) -> Any:
        kind = self._kind_named[body._which_str()]
        reader = body._get_by_field(kind.field)
        if kind.payload_of is None:
            return kind.read(reader)
        payload = next(payloads, None)
        if payload is None:
            raise ProtocolError(f"{kind.name} without its payload frame")
        return kind.read(reader, payload)


def _parts(payload: bytes) -> list[bytes]:
    """Return a payload as frames, one at least."""
    return [payload[at : at + PART_BYTES] for at in range(0, max(1, len(payload)), PART_BYTES)]


def _joined(frames: Sequence[bytes], counts: Sequence[int]) -> Iterator[bytes]:
    """Return the payloads that lie in so many frames each, behind the first frame."""
    ends = list(accumulate(counts, initial=1))
    if not all(counts) or ends[-1] != len(frames):
        raise ProtocolError(f"{len(frames) - 1} payload frames, not {ends[-1] - 1}")
    return (frames[low] if high - low == 1 else b"".join(frames[low:high]) for low, high in pairwise(ends))


class _Single(Generic[RecordT]):
    """A schema whose message is one record."""

    def __init__(self, struct: Any, record: type[RecordT]) -> None:
        self._struct = struct
        self._columns = _Columns(record, struct.schema)

    def encode(self, value: RecordT) -> bytes:
        builder = self._struct.new_message()
        try:
            self._columns.write(builder, value)
            return cast("bytes", builder.to_bytes())
        except _CAPNP_ERRORS as error:
            raise ProtocolError(f"a {type(value).__name__} cannot be written: {error}") from error

    def decode(self, frame: bytes) -> RecordT:
        return _read(self._struct, frame, self._columns.read)


def _read(struct: Any, frame: bytes, take: Callable[..., RecordT], *arguments: Any) -> RecordT:
    """Return what `take` makes of a message, and of the arguments; `ProtocolError` if it is none."""
    size = len(frame)
    if not 0 < size <= MAX_PACKET_BYTES or size % 8:
        raise ProtocolError(f"a message of {size} bytes")
    try:
        # Not `from_bytes`: its context manager takes longer than the rest.
        # Every access counts again, and some fields are read twice.
        reader = next(struct.read_multiple_bytes(frame, traversal_limit_in_words=2 * (size // 8) + 1024))
        return take(reader, *arguments)
    except ProtocolError:
        raise
    except _CAPNP_ERRORS as error:
        raise ProtocolError(f"not a message: {str(error).partition(chr(10))[0]}") from error


class _Kind:
    """How one message class is written and read."""

    def __init__(self, record: type[Any], field: Any) -> None:
        self.name: str = field.proto.name
        self.field = field
        has_payload = any(f.name == "payload" for f in fields(record))
        self.payload_of: Callable[[Any], bytes] | None = attrgetter("payload") if has_payload else None
        columns = _Columns(record, field.schema)
        self.write = columns.write
        self.read = columns.read


class _Columns:
    """The fields of one record. Zero and what is empty is not written: it is what a field reads as anyway."""

    def __init__(self, record: type[Any], schema: Any) -> None:
        self._record = record
        hints = get_type_hints(record)
        names = [f.name for f in fields(record)]
        self._payload = names.index("payload") if "payload" in names else None
        columns = [(name, schema.fields[_camel(name)], hints[name]) for name in names if name != "payload"]
        self._fields = [field for _, field, _ in columns]
        self._ints = [(name, field) for name, field, hint in columns if hint is int]
        self._scalars = [(name, field) for name, field, hint in columns if not _is_list(hint) and hint is not int]
        self._lists = [(name, *_list_column(hint, field)) for name, field, hint in columns if _is_list(hint)]
        self._places = [(names.index(name), take) for name, _, take in self._lists]

    def write(self, builder: Any, record: Any) -> None:
        put = builder._set_by_field
        for name, field in self._ints:
            if value := getattr(record, name):
                put(field, int(value))  # pycapnp refuses an IntEnum
        for name, field in self._scalars:
            if value := getattr(record, name):
                try:
                    put(field, value)
                except UnicodeEncodeError:  # what UTF-8 cannot hold is replaced: no text makes a message impossible
                    put(field, value.encode(errors="replace").decode())
        for name, put_list, _ in self._lists:
            if value := getattr(record, name):
                put_list(builder, value)

    def read(self, reader: Any, payload: bytes = b"") -> Any:
        take: Decode = reader._get_by_field
        values = list(map(take, self._fields))
        if self._payload is not None:
            values.insert(self._payload, payload)
        for place, take_list in self._places:
            values[place] = take_list(values[place])
        return self._record(*values)


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in {dict, list}


def _list_column(hint: Any, field: Any) -> tuple[Encode, Decode]:
    name = field.proto.name
    if get_origin(hint) is dict:
        return partial(_put_capabilities, name), _take_capabilities
    item: Any = get_args(hint)[0]
    if is_dataclass(item):
        columns = _Columns(cast("type[Any]", item), field.schema.elementType)
        return partial(_put_structs, name, columns), partial(_take_structs, columns)
    return partial(_put_list, name), _take_list


def _put_list(name: str, builder: Any, values: list[Any]) -> None:
    items = builder.init(name, len(values))
    for index, value in enumerate(values):
        items[index] = value


def _take_list(items: Any) -> list[Any]:
    return list(_bounded(items, MAX_ITEMS))


def _put_structs(name: str, columns: _Columns, builder: Any, values: list[Any]) -> None:
    structs = builder.init(name, len(values))
    for index, value in enumerate(values):
        columns.write(structs[index], value)


def _take_structs(columns: _Columns, structs: Any) -> list[Any]:
    return [columns.read(struct) for struct in _bounded(structs, MAX_ITEMS)]


def _bounded(items: Any, most: int) -> Any:
    if len(items) > most:
        raise ProtocolError(f"{len(items)} items in a list; at most {most} are accepted")
    return items


def _put_capabilities(name: str, builder: Any, value: m.Capabilities) -> None:
    structs = builder.init(name, len(value))
    for struct, (capability, quantity) in zip(structs, value.items(), strict=True):
        struct.name = capability
        struct.value = quantity


def _take_capabilities(structs: Any) -> m.Capabilities:
    return {struct.name: struct.value for struct in _bounded(structs, MAX_CAPABILITIES)}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _check_cancel(cancel: m.CancelTasks) -> None:
    if len(numbers("I", cancel.starts)) != len(numbers("I", cancel.counts)):
        raise ProtocolError("cancelled runs of two lengths")


def _check_limits(limits: m.RecallSlices | m.SlicesReturned) -> None:
    if len(numbers("Q", limits.slice_ids)) != len(numbers("I", limits.limits)):
        raise ProtocolError("slice limits of two lengths")


def _check_register(register: m.Register) -> None:
    if len(register.session_id) != 16 or len(register.secret) != 16:  # noqa: PLR2004 - the size of ids, see identifiers
        raise ProtocolError("session id and secret have 16 bytes")
    if not 0 <= register.heartbeat_seconds <= _MAX_HEARTBEAT_SECONDS:
        raise ProtocolError(f"a heartbeat every {register.heartbeat_seconds} seconds")


def _check_keys(named: sm.AnnounceObjects | sm.DeleteObjects) -> None:
    for key in named.keys:
        _check_name(key)


def _check_key(named: sm.AwaitObject | sm.ReadChunk) -> None:
    _check_name(named.key)


def _check_owner(named: sm.DeleteOwner) -> None:
    _check_name(named.owner)


def _check_upload(upload: sm.BeginUpload) -> None:
    _check_name(upload.key)
    _check_name(upload.owner)


def _check_name(name: bytes) -> None:
    if not 1 <= len(name) <= sm.MAX_NAME_BYTES:
        raise ProtocolError(f"a name of {len(name)} bytes; 1 to {sm.MAX_NAME_BYTES} are accepted")


_CHECKS: dict[type[Any], Callable[[Any], None]] = {
    m.Register: _check_register,
    m.SubmitBatch: check_batch,
    m.AssignSlice: check_slice,
    m.CancelTasks: _check_cancel,
    m.TaskResults: check_results,
    m.RecallSlices: _check_limits,
    m.SlicesReturned: _check_limits,
    sm.AnnounceObjects: _check_keys,
    sm.DeleteObjects: _check_keys,
    sm.DeleteOwner: _check_owner,
    sm.AwaitObject: _check_key,
    sm.ReadChunk: _check_key,
    sm.BeginUpload: _check_upload,
}


def _load(name: str) -> Any:
    return capnp.load(str(Path(__file__).parent / "schema" / name))


@cache
def _storage_packets() -> _Packets[sm.StoragePacket]:
    """Loaded by the first who needs it: many processes never talk to the object storage."""
    schema = _load("object_storage.capnp")
    return _Packets(schema.StoragePacket, schema.StorageBody, sm.StoragePacket, sm.StorageMessage)


@cache
def _monitor_reports() -> _Single[MonitorReport]:
    """Loaded when the first monitor listens, for the same reason."""
    return _Single(_load("monitor.capnp").MonitorReport, MonitorReport)


_schema = _load("scaler.capnp")
_PACKETS = _Packets(_schema.Packet, _schema.Body, m.Packet, m.Message)
