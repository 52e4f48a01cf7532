"""Configurations from Python keywords: plain strings, dicts and lists become the types that options have."""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from scaler_runtime.config import ConfigT, FromString, OptionField, build, option_fields
from scaler_runtime.options import WorkerCapabilities, WorkerNames


def configure(
    config_class: type[ConfigT], values: Mapping[str, object], names: Mapping[str, str] = MappingProxyType({})
) -> ConfigT:
    """Make a configuration from values by option name; `ValueError` says what is wrong with one.

    `names` are those of options that have another name in Python. For a name that is no option: `TypeError` with the
    nearest that is one.
    """
    options = {names.get(item.key, item.key): item for item in option_fields(config_class)}
    for name in values:
        if name not in options:
            raise _unknown(name, options)
    return build(config_class, {options[name].key: _convert(options[name], value) for name, value in values.items()})


def _convert(option: OptionField, value: object) -> object:
    kind = option.kind
    if isinstance(value, str):
        if issubclass(kind, FromString):
            return option.read([value])
        return (value,) if kind is tuple else value
    if kind is WorkerCapabilities and isinstance(value, Mapping):
        return WorkerCapabilities(cast("Mapping[str, int]", value))
    if isinstance(value, Sequence):
        items = tuple(cast("Sequence[Any]", value))
        if kind is tuple:
            return items
        if kind is WorkerNames and all(isinstance(item, str) for item in items):
            return WorkerNames(items)
    return cast("object", value)  # as it should be, or refused by the check of the configuration


def _unknown(name: str, options: Mapping[str, OptionField]) -> TypeError:
    nearest = difflib.get_close_matches(name, options, 1, 0.0)[0]
    return TypeError(f"there is no option {name!r}; the nearest is {nearest!r}")
