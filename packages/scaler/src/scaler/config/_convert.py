"""Turns configurations of the reference's shape into ours, where loop and IO threads are a group."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from scaler._packages import installed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

with installed(__name__):
    from scaler_protocol.addresses import Address
    from scaler_runtime.options import ProcessConfig

ConfigT = TypeVar("ConfigT")


@runtime_checkable
class Convertible(Protocol):
    """A configuration of the reference's shape."""

    def to_options(self) -> object:
        """Return ours."""
        ...


def convert(config: "DataclassInstance", config_class: type[ConfigT]) -> ConfigT:
    """Make a `config_class` of a configuration; `ValueError` says what is wrong."""
    values: dict[str, Any] = {item.name: _value(item.name, getattr(config, item.name)) for item in fields(config)}
    if "event_loop" in values:
        values["process_config"] = ProcessConfig(values.pop("event_loop"), values.pop("worker_io_threads"))
    return config_class(**values)


def _value(name: str, value: object) -> object:
    if name.endswith("_address") and value is not None:
        return Address.from_string(str(value))
    return value.to_options() if isinstance(value, Convertible) else value
