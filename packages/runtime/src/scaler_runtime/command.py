"""What every command's `main` does: read the options, run, and end with one clear line where something is wrong.

The only file that imports the command-line library, which carries the parsing and the precedence: command line, then
environment, then the TOML file's section, then defaults. An option given twice: the last one counts; paths add up.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Generic, NoReturn

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.exceptions import CycloptsError, MissingArgumentError, RepeatArgumentError, UnusedCliTokensError
from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry
from cyclopts.token import Token

from scaler_runtime.config import ConfigError, ConfigT, OptionField, build, nearest, option_fields, shown
from scaler_runtime.config_file import read_section
from scaler_runtime.options import SCREEN
from scaler_runtime.program import ProgramError
from scaler_runtime.transport import BindError

EXIT_FAILED = 1
EXIT_USAGE = 2

_CONFIG = "config"
_CONFIG_FLAGS = ("--config", "-c")
_HELP_FLAGS = ("--help", "-h")
_END_OF_OPTIONS = "--"
_OPTION = re.compile(r"-[^0-9.]")  # not `-` alone and not a negative number


@dataclass(frozen=True, slots=True)
class Command(Generic[ConfigT]):
    """A command's name, the section of its options in files, and the class they make."""

    name: str
    section: str
    config_class: type[ConfigT]
    aliases: Mapping[str, str]
    """Further flags, each with the name of its option."""

    def options(self) -> dict[str, OptionField]:
        """Return its options by name."""
        return {item.key: item for item in option_fields(self.config_class)}

    def flags(self) -> dict[str, tuple[str, ...]]:
        """Return the flags of those options that are not positional."""
        return {
            item.key: (
                item.flag,
                *filter(None, [item.option.short]),
                *(alias for alias, key in self.aliases.items() if key == item.key),
            )
            for item in option_fields(self.config_class)
            if not item.option.positional
        } | {_CONFIG: _CONFIG_FLAGS}


@dataclass(frozen=True, slots=True)
class Parsed(Generic[ConfigT]):
    """The options of one start. `config` is None where the user asked for help, which has been written."""

    config: ConfigT | None
    warnings: Sequence[str] = ()


def run_command(
    name: str,
    section: str,
    config_class: type[ConfigT],
    run: Callable[[ConfigT], int],
    *,
    aliases: Mapping[str, str] | None = None,
) -> NoReturn:
    """Read the options, run the command and exit with what it returns; errors are one line on stderr.

    `aliases`: further flags of this command, each with the name of its option.
    """
    try:
        parsed = parse_command(Command(name, section, config_class, aliases or {}), sys.argv[1:])
        for warning in parsed.warnings:
            _say(name, f"warning: {warning}")
        sys.exit(0 if parsed.config is None else run(parsed.config))
    except KeyboardInterrupt:
        sys.exit(0)
    except ConfigError as error:
        _say(name, str(error))
        sys.exit(EXIT_USAGE)
    except (ProgramError, BindError) as error:
        _say(name, getattr(error, "strerror", None) or str(error))
        sys.exit(EXIT_FAILED)


def parse_command(command: Command[ConfigT], arguments: Sequence[str]) -> Parsed[ConfigT]:
    """Read the options from `arguments`, the environment and the file that `--config` names.

    `ConfigError` says in one line which option is wrong, where its value came from, and what is allowed.
    """
    values, groups = _Values(command), _Groups()
    target = _target(command, groups)
    app = App(
        name=command.name,
        help=inspect.getdoc(command.config_class),
        help_epilogue=_epilogue(command),
        help_flags=_HELP_FLAGS,
        version_flags=(),
        help_format="plaintext",
        help_formatter=DefaultFormatter(column_specs=_HELP_COLUMNS),
        group_commands=groups[""],
        config=values,
        default_parameter=Parameter(negative=(), show_env_var=False),
    )
    app.default(target)
    try:
        chosen, bound, _ = app.parse_args(_prepared(command, arguments), exit_on_error=False, print_error=False)
        if chosen is not target:  # help
            chosen(*bound.args, **bound.kwargs)
            return Parsed(None)
        given = {key: _settled(value) for key, value in bound.arguments.items()}
        return Parsed(build(command.config_class, given), values.warnings)
    except CycloptsError as error:
        raise values.explain(_translated(command, error)) from None
    except ConfigError as error:
        raise values.explain(error) from None


class _Values:
    """The file as the library's last source of values; remembers where every value came from."""

    def __init__(self, command: Command[Any]) -> None:
        self.warnings: list[str] = []
        self._command = command
        self._sources: dict[str, str] = {}

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give values to the options that have none from command line or environment."""
        by_key = {argument.field_info.name: argument for argument in arguments}
        for key, argument in by_key.items():
            if argument.tokens:
                self._sources[key] = _source(argument.tokens[0])
        files = by_key[_CONFIG].tokens
        if not files:
            return
        section = read_section(files[0].value, self._command.section, self._command.options())
        if section.warning:
            self.warnings.append(section.warning)
        for key, value in section.values.items():
            if by_key[key].tokens:
                continue
            self._sources[key] = value.source
            if not value.texts:
                by_key[key].append(Token(implicit_value=[]))
            for index, text in enumerate(value.texts):
                by_key[key].append(Token(keyword=key, value=text, source=value.source, index=index))

    def explain(self, error: ConfigError) -> ConfigError:
        """Add where the values came from, and what may be the reason of a missing one."""
        sources = [self._sources.get(key, "default") for key in error.keys]
        if len(sources) > 1:
            sources = [f"{key}: {source}" for key, source in zip(error.keys, sources, strict=True)]
        return ConfigError("; ".join([f"{error} ({', '.join(sources)})" if sources else str(error), *self.warnings]))


def _settled(value: object) -> object:
    """Undo that the library has no values stand as an empty list, unconverted."""
    return () if value == [] else value


def _source(token: Token) -> str:
    if token.source == "env":
        return f"environment variable {token.keyword}"
    return f"command line, {token.keyword}" if token.keyword else "command line"


# ---- what the library is given


def _target(command: Command[Any], groups: "_Groups") -> Callable[..., None]:
    """Return a function whose parameters are the options, the form in which the library wants them."""

    def target(*_arguments: object, **_options: object) -> None:
        """Stand for the command."""

    flags = command.flags()
    parameters = [_parameter(item, flags.get(item.key, ()), groups) for item in command.options().values()]
    config = Parameter(name=_CONFIG_FLAGS, help="TOML file with options", show_default="none", group=groups[""])
    parameters.append(_keyword(_CONFIG, Annotated[str, config]))
    parameters.sort(key=lambda parameter: parameter.kind)
    target.__dict__["__signature__"] = inspect.Signature(parameters)
    return target


class _Groups(dict[str, Group]):
    """The panels of the help text by the name of their field."""

    def __missing__(self, name: str) -> Group:
        title = (name.removesuffix("_config") or "command").replace("_", " ").capitalize()
        self[name] = Group(f"{title} options", sort_key=len(self))
        return self[name]


def _parameter(item: OptionField, flags: Sequence[str], groups: _Groups) -> inspect.Parameter:
    def convert(_hint: object, tokens: Sequence[Token]) -> object:
        return item.read([token.value for token in tokens])

    is_many = item.kind is tuple
    hint = list[str] if is_many else bool if item.kind is bool else str
    parameter = Parameter(
        name=flags or None,
        converter=convert,
        help=item.option.help,
        group=groups[item.path[0] if len(item.path) > 1 else ""],
        show_default=_default(item),
        env_var=item.variable,
        env_var_split=_split if is_many else _whole,
        consume_multiple=is_many,
        allow_repeating=True,
    )
    annotation: Any = Annotated[hint, parameter]
    if not item.option.positional:
        return _keyword(item.key, annotation)
    default = inspect.Parameter.empty if item.default is MISSING else None
    return inspect.Parameter(item.key, inspect.Parameter.POSITIONAL_ONLY, default=default, annotation=annotation)


def _keyword(name: str, annotation: Any) -> inspect.Parameter:  # noqa: ANN401 - a type expression
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _split(_hint: object, text: str, *, delimiter: str | None = None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _whole(_hint: object, text: str, *, delimiter: str | None = None) -> list[str]:
    return [text]


def _prepared(command: Command[Any], arguments: Sequence[str]) -> list[str]:
    """Refuse what the library would guess at, and write what it would misread in another way."""
    end = arguments.index(_END_OF_OPTIONS) if _END_OF_OPTIONS in arguments else len(arguments)
    options, rest = list(arguments[:end]), arguments[end:]
    if not set(_HELP_FLAGS).isdisjoint(options):
        return [_HELP_FLAGS[0]]
    fields, flags = command.options(), command.flags()
    known = [flag for names in flags.values() for flag in names]
    for token in options:
        flag = token.partition("=")[0]
        if _OPTION.match(token) and flag not in known:  # `-pr` is not `-p -r`, `-n4` is not `-n 4`
            raise _unknown(flag, fields.values(), known)
    options = [SCREEN if one == "-" else one for one in options]  # else `-` is taken for an option without a name
    # `--paths=a b`: else `b` is a path, too
    many = {flag for key, item in fields.items() if item.kind is tuple for flag in flags.get(key, ())}
    closed = [token for token in options if "=" in token and token.partition("=")[0] in many]
    return [*(token for token in options if token not in closed), *closed, *rest]


# ---- what the user is told


def _names(entry: HelpEntry) -> str:
    return ", ".join(entry.display_labels)


_HELP_COLUMNS = (ColumnSpec(renderer=_names, no_wrap=True), ColumnSpec(renderer=DescriptionRenderer()))


def _epilogue(command: Command[Any]) -> str:
    first = next(iter(command.options().values()))
    return (
        f"Every option can also come from the environment ({first.key}: {first.variable}), or from section "
        f"[{command.section}] of the TOML file given with --config ({first.key} = ...). The command line counts first, "
        "then the environment, then the file."
    )


def _default(item: OptionField) -> str:
    """Return the default on this machine, with the rule it comes from."""
    value, rule = shown(item.default), item.option.default_text
    if isinstance(item.default, int) and not rule.startswith(value):
        return f"{value} ({rule})" if rule else value
    return item.default_text


def _translated(command: Command[Any], error: CycloptsError) -> ConfigError:
    """Say in our words what the library found wrong."""
    cause = error.__cause__
    item = command.options().get(error.argument.field_info.name) if error.argument else None
    if isinstance(cause, ConfigError):
        return cause
    if isinstance(error, UnusedCliTokensError):
        text = f"unexpected argument {' '.join(error.unused_tokens or ())!r} (command line)"
    elif isinstance(error, RepeatArgumentError):
        text = "--config takes one file (command line)"
    elif isinstance(error, MissingArgumentError) and error.keyword:
        text = f"{error.keyword} needs a value: {item.allowed_text if item else 'the path of a file'} (command line)"
    elif isinstance(error, MissingArgumentError) and item:
        text = (
            f"{item.key} is missing: give it as an argument, as the key {item.key} in section [{command.section}] of "
            f"the file given with --config, or in the environment variable {item.variable}"
        )
    elif item:
        text = f"{item.key} must be {item.allowed_text} (command line, {item.flag})"
    else:
        text = str(error)
    return ConfigError(text)


def _unknown(flag: str, fields: Iterable[OptionField], known: Sequence[str]) -> ConfigError:
    for item in fields:
        if item.option.positional and item.flag == flag:
            return ConfigError(f"unknown option {flag}: {item.key} is given without a flag (command line)")
    dashes = "--" if flag.startswith("--") else "-"
    alike = [one for one in known if one.startswith(dashes)]
    return ConfigError(f"unknown option {flag}, the nearest is {nearest(flag, alike)} (command line)")


def _say(name: str, text: str) -> None:
    sys.stderr.write(f"{name}: {' '.join(text.split())}\n")
