"""Tables of options as Markdown, made from their declarations. Knows nothing of Sphinx."""

from collections.abc import Iterable, Sequence

from scaler_protocol.addresses import ACCEPTED_FORMS
from scaler_runtime.config import OptionRow, option_rows

_HEAD = ("Option", "Default", "Meaning, and what is allowed")
_SWITCH = "true or false"


def option_table(config_class: type, without: Iterable[type] = ()) -> str:
    """Return a table of a class's options, but for those that the classes `without` declare too.

    The TOML key and the environment variable follow from the long flag by a rule that the pages state.
    """
    hidden = {row.key for other in without for row in option_rows(other)}
    rows = [row for row in option_rows(config_class) if row.key not in hidden]
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD)), *(_line(_cells(row)) for row in rows)]
    return "\n".join(lines)


def _cells(row: OptionRow) -> Sequence[str]:
    flags = f"`{row.flag}`" + (f", `{row.short}`" if row.short else "")
    if not row.flag.startswith("-"):
        flags += " (positional)"
    allowed = "switch" if row.allowed == _SWITCH else row.allowed.replace(f" ({ACCEPTED_FORMS})", "")
    return flags, row.default or "required", f"{row.help} *({allowed})*"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
