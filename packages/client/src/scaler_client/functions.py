"""Functions as a client submits them: pickled, named by their content, with what is known of their arguments.

An importable function is pickled once; any other for every `submit` or `map`, as its globals and closure may have
changed.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from scaler_client.serializer import Serializer, dump_by_reference, dump_function, is_default
from scaler_protocol.batch import MAX_INLINE_BYTES
from scaler_protocol.identifiers import content_id

MAX_REMEMBERED = 1024
PROFILING: Final = "profiling"
_UNLIMITED: Final = 1 << 62
_NOT_COUNTABLE: Final = (1, 0)
_ANY_NUMBER: Final = (0, _UNLIMITED)


@dataclass(slots=True, eq=False)
class Function:
    """A function ready to be sent.

    Calls with at least `fewest` and at most `most` positional arguments and no others fit without a closer look.
    """

    function_id: bytes
    name: str
    payload: bytes
    signature: inspect.Signature | None
    fewest: int
    most: int

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the `TypeError` of a local call if the arguments do not fit, as far as the signature is known."""
        if (kwargs or not self.fewest <= len(args) <= self.most) and self.signature is not None:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}(): {error}") from None

    def check_count(self, count: int) -> None:
        """Do what `check` does for `count` positional arguments."""
        if not self.fewest <= count <= self.most:
            self.check((None,) * count, {})

    def accepted(self, kwargs: dict[str, Any], stacklevel: int) -> dict[str, Any]:
        """Return the keywords without `profiling`, with a warning, where the function does not take it."""
        if PROFILING not in kwargs or self.signature is None or _takes(self.signature, PROFILING):
            return kwargs
        warnings.warn(
            f"{self.name}() takes no argument {PROFILING!r}: dropped; use Client(profiling=True)",
            DeprecationWarning,
            stacklevel=stacklevel + 1,
        )
        return {name: value for name, value in kwargs.items() if name != PROFILING}


class Functions:
    """The functions that a client has seen."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._remembered: dict[Callable[..., Any], Function] = {}
        self._latest: Function | None = None

    def of(self, fn: Callable[..., Any]) -> Function:
        """Return the function in the state it is in now. Raises what pickling raises, `TypeError` if not callable."""
        if not isinstance(fn, _PLAIN):
            return self._make(fn)
        function = self._remembered.get(fn)
        if function is None:
            function = self._make(fn)
            if _is_importable(fn, self._serializer):
                if len(self._remembered) >= MAX_REMEMBERED:
                    self._remembered.clear()
                self._remembered[fn] = function
        return function

    def _make(self, fn: Callable[..., Any]) -> Function:
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        name = getattr(fn, "__qualname__", None)
        if not isinstance(name, str):  # an object that is called may have any attributes, or all
            name = type(fn).__qualname__
        payload = dump_function(fn, self._serializer)
        check_size(len(payload), f"the function {name}")
        function_id = content_id(payload)
        latest = self._latest
        if latest is not None and latest.function_id == function_id:
            return latest
        signature, (fewest, most) = _arguments(fn)
        self._latest = Function(function_id, name, payload, signature, fewest, most)
        return self._latest


def check_size(size: int, what: str) -> None:
    """Raise `ValueError` for more bytes than travel inside a message."""
    if size > MAX_INLINE_BYTES:
        raise ValueError(f"too large to be sent: {what}, {size} bytes pickled; the limit is {MAX_INLINE_BYTES} bytes")


_PLAIN = (FunctionType, BuiltinFunctionType, type)


def _is_importable(fn: Callable[..., Any], serializer: Serializer) -> bool:
    if isinstance(fn, BuiltinFunctionType) and not isinstance(fn.__self__, ModuleType):
        return False  # a method that is bound to an object, which may change
    return is_default(serializer) and dump_by_reference(fn) is not None


def _arguments(fn: Callable[..., Any]) -> tuple[inspect.Signature | None, tuple[int, int]]:
    try:
        # a wrapper takes what it says itself, whatever the function within takes
        signature = inspect.signature(fn, follow_wrapped=False)
    except (ValueError, TypeError):  # a built-in without a signature
        return None, _ANY_NUMBER
    fewest = most = 0
    for parameter in signature.parameters.values():
        required = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = _UNLIMITED
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if required:
                return signature, _NOT_COUNTABLE
        elif parameter.kind is not parameter.VAR_KEYWORD:
            fewest += required
            most += 1
    return signature, (fewest, most)


def _takes(signature: inspect.Signature, name: str) -> bool:
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == name and parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD})
        for parameter in signature.parameters.values()
    )
