"""Python objects to bytes and back: functions, calls, results, failures. Both ends of the wire use it; no IO.

Plain pickle is many times faster than cloudpickle and does for most; cloudpickle takes what plain pickle refuses, and
what belongs to `__main__`, which plain pickle would take by a name that means something else in a worker.
"""

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import cloudpickle

from scaler_client.exceptions import DeserializeObjectError

PROTOCOL = pickle.HIGHEST_PROTOCOL
ATOMS = frozenset((int, float, bool, str, bytes, type(None)))
"""Types whose values may share one pickle: nobody can change them, so that it does not matter who else has them."""

Buffer = bytes | bytearray | memoryview
_MAX_NESTING = 8


class Serializer(ABC):
    """How functions, arguments and results become bytes. A custom one is used for each of them by itself."""

    @staticmethod
    @abstractmethod
    def serialize(obj: Any) -> bytes:
        """Return `obj` as bytes."""
        raise NotImplementedError

    @staticmethod
    @abstractmethod
    def deserialize(payload: Buffer) -> Any:
        """Return the object that `serialize` made the bytes-like `payload` of."""
        raise NotImplementedError


class DefaultSerializer(Serializer):
    """cloudpickle, with the highest protocol."""

    @staticmethod
    def serialize(obj: Any) -> bytes:
        return dump(obj)

    @staticmethod
    def deserialize(payload: Buffer) -> Any:
        return pickle.loads(payload)


class RemoteTraceback(Exception):
    """The cause of a task's exception: where it was raised, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def is_default(serializer: Serializer) -> bool:
    """Whether it is the default one, for which values may share a pickle."""
    return type(serializer) is DefaultSerializer


def dump(obj: object) -> bytes:
    """Pickle any object that cloudpickle can pickle."""
    data = dump_by_reference(obj)
    return cloudpickle.dumps(obj, PROTOCOL) if data is None else data


def dump_by_reference(obj: object) -> bytes | None:
    """Return the plain pickle, or None if it would not mean the same in another process, or is not possible."""
    if cloudpickle.list_registry_pickle_by_value():
        return None
    try:
        data = pickle.dumps(obj, PROTOCOL)
    except Exception:  # noqa: BLE001 - whatever the object's own methods raise; cloudpickle raises it again if it must
        return None
    return None if b"__main__" in data else data


# ---- functions


def dump_function(fn: Callable[..., Any], serializer: Serializer) -> bytes:
    """Return the payload of `DefineFunction`: the serializer, unless it is the default one, and the function."""
    if is_default(serializer):
        return pickle.dumps((None, dump(fn)), PROTOCOL)
    return pickle.dumps((cloudpickle.dumps(serializer, PROTOCOL), serializer.serialize(fn)), PROTOCOL)


def load_function(payload: Buffer) -> tuple[Callable[..., Any], Serializer]:
    """Return the function and the serializer for its arguments and results. Raises whatever unpickling raises."""
    serializer_bytes, function_bytes = pickle.loads(payload)
    serializer = DefaultSerializer() if serializer_bytes is None else pickle.loads(serializer_bytes)
    return serializer.deserialize(function_bytes), serializer


# ---- arguments


def dump_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], serializer: Serializer, skipped: frozenset[int | str] = frozenset()
) -> bytes:
    """Return a block with `Encoding.CALL`: the arguments of one task.

    Arguments at the places `skipped` (numbers, keywords) are None and mean nothing: no serializer sees them.
    """
    if is_default(serializer):
        return dump((args, kwargs))
    parts = (
        [None if n in skipped else serializer.serialize(arg) for n, arg in enumerate(args)],
        {name: None if name in skipped else serializer.serialize(value) for name, value in kwargs.items()},
    )
    return pickle.dumps(parts, PROTOCOL)


def load_call(
    block: Buffer, serializer: Serializer, skipped: frozenset[int | str] = frozenset()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what `dump_call` was given."""
    if is_default(serializer):
        return pickle.loads(block)
    args, kwargs = pickle.loads(block)
    return (
        tuple(None if n in skipped else serializer.deserialize(arg) for n, arg in enumerate(args)),
        {name: None if name in skipped else serializer.deserialize(value) for name, value in kwargs.items()},
    )


def are_atoms(values: Iterable[object]) -> bool:
    """Whether all are of atomic types, or tuples of such: these may share one pickle."""
    return kinds_of_atoms(values) is not None


def kinds_of_atoms(values: Iterable[object], nesting: int = _MAX_NESTING) -> set[type[object]] | None:
    """Return the types that occur, in tuples too, if all may share one pickle, else None."""
    if not isinstance(values, Sequence):
        values = list(values)
    kinds = set(map(type, values))
    others = kinds - ATOMS
    if not others:
        return kinds
    if others != {tuple} or nesting == 0:
        return None
    tuples: list[tuple[object, ...]] = [value for value in values if type(value) is tuple]
    within = kinds_of_atoms(list(chain.from_iterable(tuples)), nesting - 1)
    return None if within is None else kinds | within


def dump_values(values: Sequence[object]) -> bytes:
    """Return one pickle of all, as `Encoding.VALUES`, `Encoding.TUPLES` and `Status.VALUES` have it. For atoms only."""
    return pickle.dumps(values if type(values) is list else list(values), PROTOCOL)


def load_values(block: Buffer) -> list[Any]:
    """Return what `dump_values` was given, as a list."""
    return pickle.loads(block)


# ---- results


def dump_result(value: object, serializer: Serializer) -> bytes:
    """Return the payload of `Status.VALUE`. Raises whatever pickling raises."""
    return serializer.serialize(value)


def load_result(payload: Buffer, serializer: Serializer) -> Any:
    """Return what `dump_result` was given."""
    return serializer.deserialize(payload)


def dump_failure(error: BaseException) -> bytes:
    """Return the payload of `Status.EXCEPTION`. Raises if the exception cannot be pickled, or not be restored."""
    text = "".join(traceback.format_exception(error))
    data = pickle.dumps((dump(error), text), PROTOCOL)
    restored = pickle.loads(pickle.loads(data)[0])
    if not isinstance(restored, BaseException):
        raise pickle.PicklingError(f"the pickle of {type(error).__qualname__} restores {type(restored).__qualname__}")
    return data


def load_failure(payload: Buffer) -> BaseException:
    """Return the exception, caused by a `RemoteTraceback`; a `DeserializeObjectError` if it cannot be restored."""
    data, text = pickle.loads(payload)
    try:
        error = pickle.loads(data)
    except BaseException as why:  # noqa: BLE001 - the exception's own methods, or a module that is missing here
        error = DeserializeObjectError(f"the task's exception cannot be restored here: {why!r}\n\n{text}")
    error.__cause__ = RemoteTraceback(text)
    return error
