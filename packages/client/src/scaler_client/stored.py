"""Values that may be too large for a message: as bytes for one, or as parts for the object storage, and back.

What is large is not copied: arrays and `bytes` go from where they are into the storage, and arrays come out as
read-only views of it. A custom serializer's bytes are stored as they are.
"""

import pickle
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import cloudpickle

from scaler_client.serializer import PROTOCOL, Buffer, DefaultSerializer, Serializer, dump_call, is_default
from scaler_object_storage.values import Parts, Pieces, dump_parts, load_value
from scaler_protocol.batch import STORED_BYTES

_LOOKED_THROUGH = 16
"""Containers of more items are not looked through for large `bytes`: these are then copied once."""

_MAIN = b"__main__"


def dump_apart(value: object, serializer: Serializer) -> bytes | Parts:
    """Pickle one value: bytes, as `dump_result` gives them, or parts where they are for the object storage.

    The parts refer to the value: store them before it changes. Raises whatever pickling raises.
    """
    if is_default(serializer):
        return _dump(value, _bulk((value,)), _apart(value))
    payload = serializer.serialize(value)
    return payload if len(payload) < STORED_BYTES else Parts.of(payload)


def dump_call_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any], serializer: Serializer, skipped: frozenset[int | str] = frozenset()
) -> bytes | Parts:
    """Pickle the arguments of one call likewise; `skipped` as for `dump_call`."""
    if type(serializer) is DefaultSerializer:
        bulk = _bulk((*args, *kwargs.values()) if kwargs else args)
        if not bulk:
            return _dump((args, kwargs))
        apart = tuple(map(_apart, args)), {name: _apart(value) for name, value in kwargs.items()}
        return _dump((args, kwargs), bulk, apart)
    payload = dump_call(args, kwargs, serializer, skipped)
    return payload if len(payload) < STORED_BYTES else Parts.of(payload)


def whole_parts(value: object, serializer: Serializer) -> Parts:
    """Return the parts of a value that is stored whatever its size."""
    dumped = dump_apart(value, serializer)
    if isinstance(dumped, Parts):
        return dumped
    return dump_parts([dumped], ()) if is_default(serializer) else Parts.of(dumped)


def load_stored(stored: memoryview | Pieces, serializer: Serializer) -> Any:
    """Return the value of an object; the default serializer's may come in pieces. Raises what restoring it raises."""
    if isinstance(stored, Pieces) or is_default(serializer):
        return load_value(stored)
    return serializer.deserialize(stored)


def _dump(value: object, bulk: Sequence[Buffer] = (), apart: object = None) -> bytes | Parts:
    """`apart`: the same with the large `bytes` at its top to be kept apart, so that they can be read by themselves."""
    if cloudpickle.list_registry_pickle_by_value():
        return _dump_by_value(value)
    buffers: list[memoryview] = []
    keeps_in_stream = partial(_keeps_in_stream, buffers)
    try:
        if bulk:
            stream = _Pieces()
            own = {id(item) for item in bulk}
            pickled = apart if len(own) == len(bulk) else value  # what occurs twice would be written twice
            pickle.Pickler(stream, PROTOCOL, buffer_callback=keeps_in_stream).dump(pickled)
            if not {id(buffer.obj) for buffer in buffers}.isdisjoint(map(id, stream.pieces)):  # it does, deeper inside
                stream.pieces.clear()
                buffers.clear()
                pickle.Pickler(stream, PROTOCOL, buffer_callback=keeps_in_stream).dump(value)
            if not any(_MAIN in bytes(piece) for piece in stream.pieces if id(piece) not in own):
                return dump_parts(stream.pieces, buffers)
        else:
            data = pickle.dumps(value, PROTOCOL, buffer_callback=keeps_in_stream)
            if _MAIN not in data:
                return data if not buffers and len(data) < STORED_BYTES else dump_parts([data], buffers)
    except Exception:  # noqa: BLE001, S110 - whatever the value's own methods raise; cloudpickle raises it again if it must
        pass
    return _dump_by_value(value)


def _dump_by_value(value: object) -> bytes | Parts:
    buffers: list[memoryview] = []
    data = cloudpickle.dumps(value, PROTOCOL, partial(_keeps_in_stream, buffers))
    return data if not buffers and len(data) < STORED_BYTES else dump_parts([data], buffers)


def _keeps_in_stream(apart: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Keep a buffer apart if it is large enough to be stored by itself alone."""
    raw = buffer.raw()
    if raw.nbytes < STORED_BYTES:
        return True
    apart.append(raw)
    return False


def _apart(value: object) -> object:
    return pickle.PickleBuffer(value) if type(value) is bytes and len(value) >= STORED_BYTES else value


def _bulk(values: Iterable[Any]) -> Sequence[Buffer]:
    """Return large `bytes` among the values, and in the small containers among them."""
    found: list[Buffer] = []
    for value in values:
        kind: type = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind in _CONTAINERS:
            if len(value) <= _LOOKED_THROUGH:
                for item in value.values() if kind is dict else value:
                    if type(item) is bytes and len(item) >= STORED_BYTES:
                        found.append(item)  # noqa: PERF401 - a list of its own would cost each call its making
        elif kind in _TEXTS and len(value) >= STORED_BYTES:
            found.append(value)
    return found


_CONTAINERS: frozenset[type] = frozenset((list, tuple, dict))
_TEXTS: frozenset[type] = frozenset((bytes, bytearray))


class _Pieces:
    """The file of a pickler. Large `bytes` reach it by themselves, uncopied."""

    def __init__(self) -> None:
        self.pieces: list[Buffer] = []

    def write(self, piece: Buffer, /) -> int:
        self.pieces.append(piece)
        return len(piece)
