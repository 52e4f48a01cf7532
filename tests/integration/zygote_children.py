"""What children of the zygotes under test do."""

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from scaler_runtime.zygote import Zygote

_prepared_by = []


def prepare():
    _prepared_by.append(os.getpid())


def prepare_and_fail():
    raise SystemExit("not today")


def show_prepared(arguments, channel):
    channel.say(_prepared_by)


def answer(arguments, channel):
    channel.say((arguments, os.getpid(), os.getpgid(0), os.getsid(0), os.getppid()))
    return 0


def exit_with(code, channel):
    sys.exit(code)


def crash(number, channel):
    os.kill(os.getpid(), number)


def sleep(arguments, channel):
    channel.say("asleep")
    time.sleep(600)


def ignore_sigterm(arguments, channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(arguments, channel)


def sleep_with_grandchild(arguments, channel):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    channel.say(process.pid)
    time.sleep(600)


def leave_grandchild(arguments, channel):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    channel.say(process.pid)


def show_randomness(arguments, channel):
    channel.say(random.random())


def show_signals(arguments, channel):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)]
    channel.say(
        (handlers[:2] == [signal.SIG_DFL] * 2, handlers[2] is signal.default_int_handler, threading.active_count())
    )


def read_descriptor(arguments, channel):
    (descriptor,) = channel.descriptors
    channel.say(os.pread(descriptor, 100, 0))


def read_inherited(descriptor, channel):
    channel.say(os.pread(descriptor, 100, 0))


def say_much(size, channel):
    for _ in range(20):
        channel.say(b"x" * size)


def write_stderr(data, channel):
    """Write to standard error by the descriptor, and end."""
    os.write(2, data)


def flood_stderr(size, channel):
    while size:
        size -= os.write(2, b"y" * min(size, 65536))


def show_stderr(arguments, channel):
    """Tell where standard error leads, and which descriptors are open."""
    descriptors = Path("/proc/self/fd")
    channel.say((str((descriptors / "2").readlink()), len(list(descriptors.iterdir()))))
    time.sleep(600)


def send_pipe(text, channel):
    """Give the owner the reading end of a pipe that has something in it."""
    read, write = os.pipe()
    os.write(write, text)
    channel.say("a pipe", (read,))


def raise_error(arguments, channel):
    raise RuntimeError("not a good day")


def own_and_wait():
    """Own a zygote with two children, tell all pids, and wait for the end: run as a program of its own."""
    zygote = Zygote(["json"])
    for key in ("a", "b"):
        zygote.start(key, "tests.integration.zygote_children:sleep_with_grandchild", None)
    pids, grandchildren = [os.getpid(), zygote.pid], 0
    while grandchildren < 2:
        event = zygote.wait_event(30)
        if type(event).__name__ == "Started":
            pids.append(event.pid)
        elif type(event).__name__ == "Said":
            pids.append(event.message)
            grandchildren += 1
    tell(*pids)
    time.sleep(600)


def write_when_asked_to_end(path, channel):
    """Write whether its owner had ended by then."""
    is_asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_asked.set())
    owner = select.poll()
    owner.register(os.pidfd_open(channel.owner_pid), select.POLLIN)
    channel.say(channel.owner_pid)
    is_asked.wait()
    Path(path).write_text("in order, after its owner" if owner.poll(0) else "in order, before its owner")


def own_orphans(path):
    """Own a zygote whose children may end in order: one does, another would not. Run as a program of its own.

    By a line it ends like a process that takes its time: the descriptors go first.
    """
    zygote = Zygote(["json"], orphan_seconds=0.5)
    zygote.start("a", "tests.integration.zygote_children:write_when_asked_to_end", path)
    zygote.start("b", "tests.integration.zygote_children:ignore_sigterm", None)
    pids, words = [os.getpid(), zygote.pid], {}
    while len(words) < 2:
        event = zygote.wait_event(30)
        if type(event).__name__ == "Started":
            pids.append(event.pid)
        elif type(event).__name__ == "Said":
            words[event.key] = event.message
    tell(words["a"], *pids)
    sys.stdin.readline()
    os.close(zygote._socket.detach())
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def fork_and_wait():
    """As `own_and_wait`, but the zygote is a fork; says what became of its child."""
    zygote = Zygote([], fork=True)
    zygote.start("a", "tests.integration.zygote_children:answer", "hello")
    said = next(event for event in iter(lambda: zygote.wait_event(30), None) if type(event).__name__ == "Said")
    zygote.start("b", "tests.integration.zygote_children:sleep", None)
    started = next(event for event in iter(lambda: zygote.wait_event(30), None) if getattr(event, "key", "") == "b")
    tell(said.message[0], os.getpid(), zygote.pid, started.pid)
    sys.stdin.readline()
    zygote.close()
    tell("closed")


def own_and_flood():
    """Own a zygote with a child that floods its standard error, and another that answers nevertheless."""
    zygote = Zygote(["json"])
    zygote.start("flood", "tests.integration.zygote_children:flood_stderr", 64 << 20, keeps_stderr=True)
    for number in range(20):
        zygote.start(f"{number}", "tests.integration.zygote_children:answer", number, keeps_stderr=True)
        said = next(event for event in iter(lambda: zygote.wait_event(30), None) if type(event).__name__ == "Said")
        tell(said.message[0])
    zygote.close()
    tell("closed")


def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()
