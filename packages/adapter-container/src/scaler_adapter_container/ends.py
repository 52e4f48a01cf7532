"""Says in one line how a container has ended. No IO."""

import re
import signal
from typing import Final

from scaler_adapter_container.engine import End
from scaler_adapter_core.group_program import MISSING_MODULE, OUT_OF_MEMORY

_SIGNALLED: Final = 128
"""Exit codes from here on are signals."""
_LAST_LINE: Final = 500
_LIMIT_REACHED = re.compile(f"{re.escape(OUT_OF_MEMORY)}[1-9]")


def reason_of(end: End) -> str:
    """Return why a container has ended, with its last words."""
    if end.exit_code == 0:
        return "the container ended in order (exit code 0)"
    reason = _cause_of(end)
    if end.error:
        reason = f"{reason}: {end.error}"
    if not end.last_lines:
        return reason
    last = end.last_lines[-1][:_LAST_LINE]
    hint = " (the image has no scaler-worker for this Python)" if MISSING_MODULE in last else ""
    return f"{reason}: {last}{hint}"


def _cause_of(end: End) -> str:
    limit = f"its memory limit of {_in_words(end.memory_bytes)}" if end.memory_bytes else "lack of memory"
    if end.is_out_of_memory or (end.memory_bytes and any(map(_LIMIT_REACHED.search, end.last_lines[-1:]))):
        return f"the container was ended by {limit}"
    code = end.exit_code
    name = _signal_name(code - _SIGNALLED)
    if not name:
        return f"the container ended with exit code {code}"
    doubt = f", from outside or by {limit}" if name == "SIGKILL" and end.memory_bytes else ""
    return f"the container was ended by {name}{doubt} (exit code {code})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _in_words(count: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << shift:
            return f"{count / (1 << shift):g} {unit}"
    return f"{count} bytes"
