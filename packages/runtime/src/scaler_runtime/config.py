"""What options are: each is declared once, as a field of a frozen dataclass, with its flag, help, default and rule.

Must not import the command-line library: child processes load their configuration classes too. An example:

    @dataclass(frozen=True)
    class SchedulerConfig(Options):
        scheduler_address: Annotated[Address, Option("where to listen", positional=True)]
        client_timeout_seconds: Annotated[int, Option("a client silent this long is gone", "-ct", at_least(1))] = 60
        protected: Annotated[bool, Option("refuse client shutdown", "-p")] = False
        process_config: ProcessConfig = field(default_factory=ProcessConfig)  # a group: its fields are options too
        logging_config: LoggingConfig = field(default_factory=LoggingConfig)

and the command, in `__main__.py`; `server.run(config) -> int` begins with `setup_logging(config.logging_config)`:

    def main() -> NoReturn:
        run_command("scaler_scheduler", "scheduler", SchedulerConfig, server.run)  # from scaler_runtime.command
"""

import dataclasses
import importlib.util
import os
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Protocol, Self, TypeVar, cast, runtime_checkable

LOGGING_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
EVENT_LOOPS = ("builtin", "uvloop")
SCREEN = "/dev/stdout"

ConfigT = TypeVar("ConfigT")


class ConfigError(ValueError):
    """Options that cannot be used as given; one line that says which, from where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rule for values: what is said to the user, and the check."""

    text: str
    accepts: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is shown and read. The long flag, the TOML key and the variable follow from the field's name."""

    help: str
    short: str = ""
    """With its dash, perhaps of several letters: `-mw`."""
    allowed: Allowed | None = None
    """Checked wherever the value comes from, also in Python."""
    positional: bool = False
    parse: Callable[[str], object] | None = None
    """Reads one string, `ValueError` says what is allowed; needed only for types without `from_string`."""
    key: str = ""
    """The name of the option where it is not the field's."""


def at_least(minimum: int) -> Allowed:
    """Allow whole numbers from `minimum` on."""
    return Allowed(f"a whole number >= {minimum}", lambda value: type(value) is int and value >= minimum)


def one_of(*values: str) -> Allowed:
    """Allow these strings, spelled exactly so."""
    return Allowed(f"one of {', '.join(values)}", lambda value: value in values)


def usual_number_of_workers() -> int:
    """Return one less than there are CPUs, at least 1."""
    return max(1, (os.cpu_count() or 1) - 1)


class Options:
    """Base of the dataclasses that declare options: `ConfigError` (a `ValueError`) for values that are not allowed."""

    def __post_init__(self) -> None:
        """Check every option; classes with checks across options extend it."""
        for item in option_fields(type(self)):
            if len(item.path) == 1:
                item.check(getattr(self, item.path[0]))


@dataclass(frozen=True)
class LoggingConfig(Options):
    """Where a program writes its log, and how much."""

    paths: Annotated[
        tuple[str, ...],
        Option("`-` or /dev/stdout: the screen; else files, rotated at midnight", "-lp", key="logging_paths"),
    ] = (SCREEN,)
    config_file: Annotated[
        str | None, Option("Python fileConfig file; replaces the two others", "-lcf", key="logging_config_file")
    ] = None
    level: Annotated[str, Option("least level written", "-ll", one_of(*LOGGING_LEVELS), key="logging_level")] = "INFO"


@dataclass(frozen=True)
class ProcessConfig(Options):
    """How a process runs its loop and its network."""

    event_loop: Annotated[str, Option("asyncio loop; uvloop must be installed", "-el", one_of(*EVENT_LOOPS))] = "builtin"
    worker_io_threads: Annotated[int, Option("network threads of each process", "-wit", at_least(1))] = 1

    def __post_init__(self) -> None:
        """Check the options, and that the loop is installed."""
        super().__post_init__()
        if self.event_loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            raise ConfigError("event_loop=uvloop needs the package uvloop: pip install uvloop")


@runtime_checkable
class FromString(Protocol):
    """A type that reads itself from what a user wrote; `ValueError` names the accepted forms."""

    @classmethod
    def from_string(cls, text: str, /) -> Self:
        """Read one value."""
        ...


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option of a configuration class; `path` leads to its field through the groups."""

    path: tuple[str, ...]
    kind: type
    """The type of the value; `tuple` stands for a list of strings."""
    is_optional: bool
    default: object
    """`dataclasses.MISSING` where a value is required."""
    option: Option

    @property
    def key(self) -> str:
        """The name of the option, as in TOML."""
        return self.option.key or self.path[-1]

    @property
    def flag(self) -> str:
        """The long flag."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "SCALER_" + self.key.upper()

    @property
    def allowed_text(self) -> str:
        """What may be given, in words."""
        if self.option.allowed is not None:
            return self.option.allowed.text
        return _KINDS.get(self.kind, "a value of another form")

    def check(self, value: object) -> None:
        """Raise `ConfigError` unless the value is allowed."""
        if value is None and self.is_optional:
            return
        allowed = self.option.allowed
        if not self._is_of_kind(value) or (allowed is not None and not allowed.accepts(value)):
            raise ConfigError(f"{self.key} must be {self.allowed_text}, not {value!r}")

    def read(self, texts: Sequence[str]) -> object:
        """Convert what a user wrote; `ValueError` says what is wrong with it or what is allowed."""
        if self.kind is tuple:
            return tuple(texts)
        text = ",".join(texts)
        if self.option.parse is not None:
            return self.option.parse(text)
        if issubclass(self.kind, FromString):
            return self.kind.from_string(text)
        try:
            value = _SCALARS[self.kind](text)
        except (ValueError, KeyError):
            raise ValueError(f"must be {self.allowed_text}") from None
        if self.option.allowed is not None and not self.option.allowed.accepts(value):
            raise ValueError(f"must be {self.allowed_text}")
        return value

    def _is_of_kind(self, value: object) -> bool:
        return type(value) is self.kind if self.kind in _SCALARS else True


@cache
def option_fields(config_class: type) -> tuple[OptionField, ...]:
    """Return the options of a configuration class and of its groups, in the order of their declaration."""
    return tuple(_walk(config_class, ()))


def build(config_class: type[ConfigT], values: dict[str, object]) -> ConfigT:
    """Make a configuration, groups included, from values by option name; absent ones take their defaults."""
    arguments: dict[str, Any] = {}
    keys = {item.path[0]: item.key for item in option_fields(config_class) if len(item.path) == 1}
    for name, hint in _hints(config_class).items():
        if name in keys:
            if keys[name] in values:
                arguments[name] = values[keys[name]]
        elif _is_group(hint):
            arguments[name] = build(hint, values)
    return config_class(**arguments)


_KINDS: dict[type, str] = {int: "a whole number", bool: "true or false", str: "a string"}
_SCALARS: dict[type, Callable[[str], object]] = {
    int: int,
    str: str,
    bool: lambda text: {"true": True, "false": False}[text.lower()],
}


def _walk(config_class: type, path: tuple[str, ...]) -> Iterator[OptionField]:
    hints = _hints(config_class)
    for item in dataclasses.fields(config_class):
        hint = hints[item.name]
        if _is_group(hint):
            yield from _walk(hint, (*path, item.name))
        elif typing.get_origin(hint) is Annotated:
            annotated, option = typing.get_args(hint)
            kind, is_optional = _kind(annotated)
            default = item.default
            if item.default_factory is not dataclasses.MISSING:
                default = item.default_factory()
            yield OptionField((*path, item.name), kind, is_optional, default, option)


def _hints(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class, include_extras=True)


def _is_group(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Options)


def _kind(annotated: Any) -> tuple[type, bool]:  # noqa: ANN401 - a type expression
    """Take `int`, `int | None` or `tuple[str, ...]` apart."""
    if typing.get_origin(annotated) in {types.UnionType, typing.Union}:
        first, *rest = (kind for kind in typing.get_args(annotated) if kind is not type(None))
        if rest:
            raise TypeError(f"an option has one type, not {annotated}")
        return _kind(first)[0], True
    return typing.get_origin(annotated) or annotated, False
