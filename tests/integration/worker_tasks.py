"""What workers under test are given to do, and to preload."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def square(x):
    return x * x


def pid_of(_):
    return os.getpid()


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def end_by(what):
    """End the process: by an exit code, or by a signal if negative."""
    if what >= 0:
        os._exit(what)
    os.kill(os.getpid(), -what)
    time.sleep(60)


def leave(code):
    sys.exit(code)


def be_stubborn(seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


def start_sleeper(path):
    """Leave the pid of a process of the task's own, and wait."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(process.pid))
    time.sleep(600)


def environment(name):
    return os.environ.get(name)


def place(_):
    return str(Path.cwd()), sys.path


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def say(text):
    sys.stdout.write(f"{text}\n")


def write_file(path):
    Path(path).write_text(str(os.getpid()))


def fail():
    raise RuntimeError("no model")


def complain_and_crash(text):
    sys.stderr.write(f"{text}\n")
    ctypes.string_at(0)
