"""The last that a dead process wrote to its standard error, as people want to read it."""

import re
from typing import Final

MOST_BYTES: Final = 4096

_NOISE = re.compile(
    # of `faulthandler`: a line that may be longer than everything else, and the frames below those of the task
    r'Extension modules: |  File "[^"]*/scaler_(worker|runtime|cluster)/[^"]*", line \d+ in '
    r'|  File "<string>", line 1 in <module>'
)
_FATAL = "Fatal Python error"


def readable(data: bytes) -> str:
    """Return the last whole lines, `MOST_BYTES` at most; of a line that is longer than that, its end."""
    lines = data.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}").splitlines(keepends=True)
    kept = "".join(line for line in lines if not _NOISE.match(line)).encode()
    if len(kept) <= MOST_BYTES:
        return kept.decode()
    end = kept[-MOST_BYTES:]
    whole = end if kept[-MOST_BYTES - 1 : -MOST_BYTES] == b"\n" else end.partition(b"\n")[2]
    return (whole or end).decode(errors="ignore")


def headline(data: bytes) -> str:
    """Return the line that most likely says why the process ended: that of a fatal error, or the last; may be empty."""
    lines = [line.strip() for line in readable(data).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith(_FATAL)), lines[-1] if lines else "")
