"""What tasks under test write, and how they end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def write_in_every_way(number):
    sys.stdout.write(f"text {number}\n")
    sys.stderr.write(f"error {number}\n")
    os.write(1, b"bytes \xff %d\n" % number)
    ctypes.CDLL(None).printf(b"C %d\n", number)
    subprocess.run(["sh", "-c", f"echo child {number}; echo child error {number} >&2"], check=True)
    sys.stdout.write(f"half a line {number}")
    return number


def say(text):
    sys.stdout.write(f"{text}\n")
    return text


def say_and_raise(text):
    sys.stdout.write(text)
    raise KeyError(text)


def flood(size):
    """Write so many bytes, in pieces of 64 KiB; returns the seconds it took."""
    begun = time.monotonic()
    for _ in range(size >> 16):
        os.write(1, b"x" * 65535 + b"\n")
    return time.monotonic() - begun


def leave_behind(path):
    """Leave a process that writes when the file is there; returns its pid."""
    script = f"while [ ! -e {path} ]; do sleep 0.05; done; echo from behind"
    return subprocess.Popen(["sh", "-c", script], start_new_session=True).pid


def wait_for(path):
    sys.stdout.write("waiting\n")
    while not Path(path).exists():
        time.sleep(0.01)


def say_and_die(text, how):
    """Write to both streams, and end the process at once: by an exit code, or by a signal."""
    sys.stdout.write(f"{text} out\n")
    sys.stderr.write(f"{text} err\n")
    die(how)


def die(how):
    match how:
        case int():
            os._exit(how)
        case "null":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "kill":
            signal.raise_signal(signal.SIGKILL)
        case "segv":
            signal.raise_signal(signal.SIGSEGV)


def take_memory(size, seconds):
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(seconds)


def burn(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


def burn_and_raise(seconds):
    burn(seconds)
    raise KeyError
