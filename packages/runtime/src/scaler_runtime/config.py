"""What options are: each is declared once, as a field of a frozen dataclass, with its flag, help, default and rule.

Must not import the command-line library: child processes load their configuration classes too. An example:

    @dataclass(frozen=True)
    class SchedulerConfig(Options):
        scheduler_address: Annotated[Address, Option("where to listen", positional=True)]
        client_timeout_seconds: Annotated[int, Option("a client silent this long is gone", "-ct", at_least(1))] = 60
        protected: Annotated[bool, Option("refuse client shutdown", "-p")] = False
        process_config: ProcessConfig = field(default_factory=ProcessConfig)  # a group: its fields are options too

and the command, in `__main__.py`, where `start(config) -> int` imports what it needs:

    def main() -> None:
        end_when_asked()  # from scaler_runtime.early_signals, which is all that the module imports
        run_command("scaler_scheduler", "scheduler", SchedulerConfig, start)  # from scaler_runtime.command
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Annotated, Any, Protocol, Self, TypeVar, runtime_checkable

ConfigT = TypeVar("ConfigT")


class ConfigError(ValueError):
    """Options that cannot be used as given: one line that says which and what is allowed. `keys` names the options."""

    def __init__(self, text: str, *keys: str) -> None:
        super().__init__(text, *keys)
        self.keys = keys

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rule for values: what is said to the user, and the check."""

    text: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is shown and read. The long flag, the TOML key and the variable follow from the field's name."""

    help: str
    short: str = ""
    """With its dash, perhaps of several letters: `-mw`."""
    allowed: Allowed | None = None
    """Checked wherever the value comes from, also in Python."""
    positional: bool = False
    key: str = ""
    """The name of the option where it is not the field's."""
    default_text: str = ""
    """What is used by default, where the value alone does not say it."""


def at_least(minimum: int) -> Allowed:
    """Allow whole numbers from `minimum` on."""
    return Allowed(f"a whole number >= {minimum}", lambda value: value >= minimum)


def one_of(*values: str) -> Allowed:
    """Allow these strings, spelled exactly so."""
    return Allowed(f"one of {', '.join(values)}", lambda value: value in values)


class Options:
    """Base of the dataclasses that declare options: `ConfigError` (a `ValueError`) for values that are not allowed."""

    def __post_init__(self) -> None:
        """Check every option; classes with checks across options extend it."""
        for item in option_fields(type(self)):
            if len(item.path) == 1:
                item.check(getattr(self, item.path[0]))


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
    kind: type[Any]
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
    def is_list(self) -> bool:
        """Whether it has several values: an array in TOML, separated by commas elsewhere."""
        return self.kind is not str and issubclass(self.kind, (tuple, Mapping, Sequence))

    @property
    def allowed_text(self) -> str:
        """What may be given, in words."""
        if self.option.allowed is not None:
            return self.option.allowed.text
        return _KINDS.get(self.kind) or str(getattr(self.kind, "FORM", self.kind.__name__))

    @property
    def default_text(self) -> str:
        """What is used when nothing is given, in words that hold on any machine; empty where a value is required."""
        return self.option.default_text or shown(self.default)

    def check(self, value: object) -> None:
        """Raise `ConfigError` unless the value is allowed."""
        if value is None and self.is_optional:
            return
        is_of_kind = type(value) is self.kind if self.kind in _SCALARS else isinstance(value, self.kind)
        if not is_of_kind or (self.option.allowed is not None and not self.option.allowed.accepts(value)):
            raise self._refusal(value)

    def read(self, texts: Sequence[str]) -> object:
        """Convert what a user wrote; `ConfigError` says what is wrong with it or what is allowed."""
        if self.kind is tuple:
            return tuple(texts)
        text = ",".join(texts)
        if issubclass(self.kind, FromString):
            try:
                return self.kind.from_string(text)
            except ValueError as error:
                raise ConfigError(f"{self.key}: {error}", self.key) from None
        try:
            return _SCALARS[self.kind](text)
        except (ValueError, KeyError):
            raise self._refusal(text) from None

    def _refusal(self, value: object) -> ConfigError:
        if isinstance(value, tuple):  # as the user wrote it
            value = " ".join(map(str, typing.cast("tuple[object, ...]", value)))
        value = value if isinstance(value, int | float | str | None) else str(value)
        return ConfigError(f"{self.key} must be {self.allowed_text}, not {value!r}", self.key)


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option in words, for documentation."""

    flag: str
    """The long flag, or the name of a positional argument."""
    short: str
    key: str
    variable: str
    allowed: str
    default: str
    """Empty where a value is required."""
    help: str


def option_rows(config_class: type) -> list[OptionRow]:
    """Describe all options of a configuration class, in the order of their declaration."""
    return [
        OptionRow(
            item.key if item.option.positional else item.flag,
            item.option.short,
            item.key,
            item.variable,
            item.allowed_text,
            item.default_text,
            item.option.help,
        )
        for item in option_fields(config_class)
    ]


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


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that was most likely meant: `name` is its beginning, begins with it, or is spelled like it."""
    known = list(names)
    likely = [one for one in known if one.startswith(name)] or [one for one in known if name.startswith(one)] or known
    return difflib.get_close_matches(name, likely, n=1, cutoff=0.0)[0]


def shown(value: object) -> str:
    """Write a default as a user would."""
    if value is MISSING:
        return ""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in typing.cast("tuple[object, ...]", value)) or "empty"
    return str(value) or "empty"


_KINDS: dict[type, str] = {int: "a whole number", bool: "true or false", str: "a string", tuple: "zero or more strings"}
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
            if item.default_factory is not MISSING:
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
