"""How numbers and names are written in few characters. Names come from strangers: only what can be printed is shown."""

from math import isfinite

_UNITS = ("b", "k", "m", "g", "t", "p", "e")
_STEP = 1024
SILENCE_SHOWN_SECONDS = 5
_UNKNOWN = "?"


def name(text: str) -> str:
    """Return the name on one line, without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else _UNKNOWN for character in text)


def count(number: int) -> str:
    """Return `53,704`."""
    return f"{number:,}"


def percent(number: float) -> str:
    """Return `12.5%`."""
    return f"{number:.1f}%"


def size(number: float) -> str:
    """Return bytes as `113.3m`."""
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.1f}{unit}" if unit != _UNITS[0] else f"{number:.0f}{unit}"
        number /= _STEP
    return f"{number:.1f}{_UNITS[-1]}"


def lag(seconds: float, silent_seconds: float) -> str:
    """Return `0.7ms`, or `(12s) 0.7ms` when nothing was heard for 12 seconds."""
    if not isfinite(seconds) or not isfinite(silent_seconds):
        return _UNKNOWN
    silence = f"({silent_seconds:.0f}s) " if silent_seconds > SILENCE_SHOWN_SECONDS else ""
    return silence + (f"{seconds:.1f}s" if seconds >= 1 else f"{seconds * 1000:.1f}ms")
