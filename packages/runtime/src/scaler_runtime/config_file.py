"""Reads the section of a command from a TOML file. Does not decide which values count."""

import os.path
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from scaler_runtime.config import ConfigError, OptionField, nearest


@dataclass(frozen=True, slots=True)
class FileValue:
    """What a file says about one option."""

    texts: Sequence[str]
    """As a user would write it on the command line; empty for an empty array."""
    source: str
    """The file and the key."""


@dataclass(frozen=True, slots=True)
class FileSection:
    """The values by option name, and perhaps a warning."""

    values: Mapping[str, FileValue] = field(default_factory=dict[str, FileValue])
    warning: str = ""


def read_section(path: str, section: str, fields: Mapping[str, OptionField]) -> FileSection:
    """Read the section; `ConfigError` has the file and the key or position of what is wrong.

    `fields`: the options by name. The values are not checked here, only that they can be written as text.
    """
    path = os.path.expanduser(path)  # noqa: PTH111 - of an unknown user: left as it is
    content = _load(path).get(section)
    if content is None:
        return FileSection(warning=f"{path} has no section [{section}]: defaults apply")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {section} must be a section, [{section}], not {content!r}")
    values: dict[str, FileValue] = {}
    for written, value in cast("dict[str, object]", content).items():
        key = written.replace("-", "_")
        if key not in fields:
            raise ConfigError(
                f"{path}: [{section}] has an unknown key {written}, the nearest is {nearest(key, fields)}"
            )
        if key in values:
            raise ConfigError(f"{path}: [{section}] has the key {key} twice, - and _ being equal")
        values[key] = FileValue(_texts(fields[key], value, path), f"{path}: {written}")
    return FileSection(values)


def _load(path: str) -> dict[str, object]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a TOML file: byte {error.start} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from None


def _texts(item: OptionField, value: object, path: str) -> list[str]:
    is_array = isinstance(value, list) and item.is_list
    values: list[object] = cast("list[object]", value) if is_array else [value]
    for one in values:
        if not isinstance(one, str | int):
            raise ConfigError(f"{item.key} must be {item.allowed_text}, not {value!r} ({path}: {item.key})")
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
