"""Files as read-only memory. A mapping lives as long as any view of it, whatever becomes of the file and its name.

It keeps no file descriptor: `mmap.mmap` of a file holds one until Python 3.13, so that a thousand arrays would use up a
process's usual number. Before, anonymous memory is reserved, and the file mapped over it.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable


def map_file(descriptor: int, size: int, on_end: Callable[[], None]) -> memoryview:
    """Map the first `size` bytes (at least 1). Raises `OSError`.

    `on_end` is called when the last view is gone, by whatever thread that happens in: it must neither wait nor raise.
    It is not called if this raises.
    """
    if sys.version_info >= (3, 13):
        mapping = _Mapping(descriptor, size, prot=mmap.PROT_READ, trackfd=False)
        mapping.on_end = on_end
        return memoryview(mapping)
    reserved = _Mapping(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    view = memoryview(reserved)
    address = _address(view)
    if _mmap(address, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0) != address:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    reserved.on_end = on_end
    return view


class _Mapping(mmap.mmap):
    """Ends with its last view: every slice and every array that is one refers to it, unlike to the first memoryview."""

    on_end: Callable[[], None] | None = None

    def __del__(self) -> None:
        if self.on_end is not None:
            self.on_end()


class _PyBuffer(ctypes.Structure):
    """`Py_buffer`, as of the stable ABI of Python 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_MAP_FIXED = 0x10  # mman.h, the same on every Linux architecture that Python wheels exist for
_PYBUF_SIMPLE = 0
_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def _address(view: memoryview) -> int | None:
    """Return where a read-only buffer lies; `ctypes` by itself tells that only of writable ones."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), _PYBUF_SIMPLE)
    address = buffer.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return address
