"""Gives memory that the C library keeps for later back to the system, where it is one that can do that (glibc)."""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # looked up once: forked processes share what that takes


def give_back_free_memory() -> None:
    """See malloc_trim(3). Does nothing elsewhere."""
    if _trim is not None:
        _trim(0)
