"""Real zygotes and real children: what is said of them, and that nothing is left."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from scaler_runtime.zygote import Ended, Said, Started, Zygote, ZygoteEnded
from tests.integration.commands import is_alive, wait_until

pytestmark = pytest.mark.integration

CHILDREN = "tests.integration.zygote_children"
SECONDS = 30


@pytest.fixture
def zygote():
    zygote = Zygote(["json"])
    pids = [zygote.pid]
    yield zygote
    with_children = psutil.Process(zygote.pid).children(recursive=True) if psutil.pid_exists(zygote.pid) else []
    zygote.close()
    pids += [child.pid for child in with_children]
    wait_gone(*pids)


def wait_gone(*pids):
    def left():
        return [pid for pid in pids if psutil.pid_exists(pid) and is_alive(psutil.Process(pid))]

    def nobody_left():
        try:
            return not left()
        except psutil.NoSuchProcess:
            return False

    wait_until(nobody_left, lambda: f"left over: {pids}")


def gather(zygote, until):
    """Return the events up to the first that `until` accepts."""
    events = []
    deadline = time.monotonic() + SECONDS
    while not events or not until(events[-1]):
        event = zygote.wait_event(deadline - time.monotonic())
        assert event is not None, events
        events.append(event)
    return events


def ended(key):
    return lambda event: isinstance(event, Ended) and event.key == key


def said(zygote, key):
    events = gather(zygote, lambda event: isinstance(event, Said | Ended) and event.key == key)
    assert isinstance(events[-1], Said), events
    return events[-1].message


def test_a_child_runs_says_and_ends(zygote):
    zygote.start("a", f"{CHILDREN}:answer", {"x": 1})
    started, word, end = gather(zygote, ended("a"))
    assert started == Started("a", started.pid)
    assert word == Said("a", ({"x": 1}, started.pid, started.pid, started.pid, zygote.pid))
    assert end == Ended("a", started.pid, 0, None)


def test_the_descriptor_tells_of_events(zygote):
    zygote.start("a", f"{CHILDREN}:answer", None)
    events = []
    while not any(ended("a")(event) for event in events):
        assert select.select([zygote.fileno()], [], [], SECONDS)[0]
        events += zygote.events()
    assert zygote.events() == []
    assert select.select([zygote.fileno()], [], [], 0)[0] == []


def test_exit_codes_and_signals_are_told_apart(zygote):
    zygote.start("exit", f"{CHILDREN}:exit_with", 3)
    zygote.start("segv", f"{CHILDREN}:crash", signal.SIGSEGV)
    zygote.start("kill", f"{CHILDREN}:crash", signal.SIGKILL)
    zygote.start("raise", f"{CHILDREN}:raise_error", None)
    zygote.start("absent", f"{CHILDREN}:no_such_function", None)
    ends = {}
    while len(ends) < 5:
        event = zygote.wait_event(SECONDS)
        if isinstance(event, Ended):
            ends[event.key] = (event.exit_code, event.signal)
    assert ends == {
        "exit": (3, None),
        "segv": (None, signal.SIGSEGV),
        "kill": (None, signal.SIGKILL),
        "raise": (1, None),
        "absent": (1, None),
    }


def test_a_crash_is_told_at_once(zygote):
    zygote.start("a", f"{CHILDREN}:sleep", None)
    pid = gather(zygote, lambda event: isinstance(event, Said))[0].pid
    begun = time.monotonic()
    os.kill(pid, signal.SIGSEGV)
    gather(zygote, ended("a"))
    assert time.monotonic() - begun < 1


def test_many_children_at_once(zygote):
    for number in range(32):
        zygote.start(str(number), f"{CHILDREN}:answer", number)
    ends, messages = set(), set()
    while len(ends) < 32:
        event = zygote.wait_event(SECONDS)
        if isinstance(event, Ended):
            ends.add(event.key)
        elif isinstance(event, Said):
            messages.add(event.message[0])
    assert messages == set(range(32))


def test_a_signal_reaches_the_whole_group(zygote):
    zygote.start("a", f"{CHILDREN}:sleep_with_grandchild", None)
    grandchild = said(zygote, "a")
    zygote.signal("a", signal.SIGTERM)
    (end,) = gather(zygote, ended("a"))
    assert end.signal == signal.SIGTERM
    wait_gone(end.pid, grandchild)
    zygote.signal("a", signal.SIGTERM)  # nothing happens


def test_a_signal_right_after_the_start_is_not_lost(zygote):
    for number in range(20):
        zygote.start(str(number), f"{CHILDREN}:sleep", None)
        zygote.signal(str(number), signal.SIGTERM)
    ends = []
    while len(ends) < 20:
        ends.append(gather(zygote, lambda event: isinstance(event, Ended))[-1])
    assert {end.signal for end in ends} == {signal.SIGTERM}


def test_a_child_that_is_told_so_ends_in_order_before_it_has_begun(zygote):
    zygote.start("child", f"{CHILDREN}:sleep", None, ends_when_asked=True)
    zygote.signal("child", signal.SIGTERM)

    assert gather(zygote, ended("child"))[-1].exit_code == 0


def test_what_a_child_started_goes_when_it_ends(zygote):
    zygote.start("a", f"{CHILDREN}:leave_grandchild", None)
    grandchild = said(zygote, "a")
    assert gather(zygote, ended("a"))[-1].exit_code == 0
    wait_gone(grandchild)


def test_children_begin_with_signals_and_random_numbers_of_their_own(zygote):
    zygote.start("signals", f"{CHILDREN}:show_signals", None)
    assert said(zygote, "signals") == (True, True, 1)
    numbers = set()
    for number in range(4):
        zygote.start(str(number), f"{CHILDREN}:show_randomness", None)
        numbers.add(said(zygote, str(number)))
    assert len(numbers) == 4


def test_descriptors_travel_with_a_start(zygote, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open() as file:
        for key in ("a", "b"):
            zygote.start(key, f"{CHILDREN}:read_descriptor", None, (file.fileno(),))
            assert said(zygote, key) == b"content"
    assert path not in [link.resolve() for link in Path(f"/proc/{zygote.pid}/fd").iterdir()]


def test_descriptors_are_inherited(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open() as file:
        zygote = Zygote([], descriptors=[file.fileno()])
        zygote.start("a", f"{CHILDREN}:read_inherited", file.fileno())
        assert said(zygote, "a") == b"content"
        zygote.close()


def test_large_words_wait_for_an_owner_that_is_busy(zygote):
    zygote.start("a", f"{CHILDREN}:say_much", 60_000)
    time.sleep(0.2)  # the buffer is full long before
    words = [event for event in gather(zygote, ended("a")) if isinstance(event, Said)]
    assert len(words) == 20


def test_too_large_arguments_are_refused(zygote):
    with pytest.raises(ValueError, match="more than"):
        zygote.start("a", f"{CHILDREN}:answer", b"x" * 200_000)


def test_closing_ends_everything_and_waits_for_it(zygote):
    zygote.start("a", f"{CHILDREN}:sleep_with_grandchild", None)
    pids = [zygote.pid, said(zygote, "a"), *(child.pid for child in psutil.Process(zygote.pid).children())]
    zygote.close(grace_seconds=5)
    assert not psutil.pid_exists(zygote.pid)
    wait_gone(*pids)
    assert isinstance(zygote.events()[-1], ZygoteEnded)
    zygote.close()
    zygote.start("b", f"{CHILDREN}:answer", None)
    assert zygote.wait_event(0) is None


def test_closing_kills_who_does_not_follow(zygote):
    zygote.start("a", f"{CHILDREN}:ignore_sigterm", None)
    assert said(zygote, "a") == "asleep"
    begun = time.monotonic()
    zygote.close(grace_seconds=0.3)
    assert 0.3 <= time.monotonic() - begun < 4
    assert next(event for event in zygote.events() if isinstance(event, Ended)).signal == signal.SIGKILL


def test_a_module_that_cannot_be_imported_is_named():
    zygote = Zygote(["json", "there_is_no_such_module"])
    zygote.start("a", f"{CHILDREN}:answer", None)
    (event,) = gather(zygote, lambda event: isinstance(event, ZygoteEnded))
    assert "there_is_no_such_module" in event.reason
    assert "ModuleNotFoundError" in event.reason
    zygote.close()


def test_what_children_need_is_done_once_in_the_zygote():
    zygote = Zygote(["json", f"{CHILDREN}:prepare"])
    for key in ("a", "b"):
        zygote.start(key, f"{CHILDREN}:show_prepared", None)
        assert said(zygote, key) == [zygote.pid]
    zygote.close()
    wait_gone(zygote.pid)


@pytest.mark.parametrize("name", ["there_is_no_such_function", "prepare_and_fail"])
def test_what_cannot_be_done_in_the_zygote_is_named(name):
    zygote = Zygote([f"{CHILDREN}:{name}"])
    (event,) = gather(zygote, lambda event: isinstance(event, ZygoteEnded))
    assert f"{CHILDREN}:{name}" in event.reason
    zygote.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_die_with_the_zygote(zygote, number):
    zygote.start("a", f"{CHILDREN}:sleep_with_grandchild", None)
    started = gather(zygote, lambda event: isinstance(event, Started))[-1]
    grandchild = said(zygote, "a")
    os.kill(zygote.pid, number)
    event = gather(zygote, lambda event: isinstance(event, ZygoteEnded))[-1]
    assert event.reason
    wait_gone(zygote.pid, started.pid, grandchild)


def test_sigint_is_the_owners_affair(zygote):
    zygote.start("before", f"{CHILDREN}:answer", None)
    assert said(zygote, "before")
    os.kill(zygote.pid, signal.SIGINT)
    zygote.start("a", f"{CHILDREN}:answer", None)
    assert said(zygote, "a")


def test_nothing_is_left_of_an_owner_that_was_killed():
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {CHILDREN} import own_and_wait; own_and_wait()"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 6
    process.kill()
    process.wait()
    wait_gone(*pids)


@pytest.mark.parametrize("how", ["at once", "slowly"])
def test_children_may_be_granted_time_to_end_in_order_when_their_owner_is_killed(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {CHILDREN} import own_orphans; own_orphans({str(tmp_path / 'word')!r})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    owner, *pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 4
    assert owner == process.pid
    if how == "at once":
        process.kill()
    process.communicate("go on\n" if how == "slowly" else None)
    wait_gone(*pids)
    assert (tmp_path / "word").read_text() == "in order, after its owner"


@pytest.mark.parametrize("how", ["close", "kill"])
def test_a_zygote_may_be_a_fork(how):
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {CHILDREN} import fork_and_wait; fork_and_wait()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    word, *pids = process.stdout.readline().split()
    assert word == "hello"
    if how == "close":
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.readline() == "closed\n"
    else:
        process.kill()
    process.wait()
    wait_gone(*map(int, pids))


def test_a_process_with_threads_cannot_be_forked():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="several threads"):
            Zygote([], fork=True)
    finally:
        release.set()
        thread.join()


def test_standard_error_is_passed_on_unchanged_and_the_end_of_it_told(capfd):
    zygote = Zygote(["json"])
    try:
        zygote.start("a", f"{CHILDREN}:write_stderr", b"one \xff\n", keeps_stderr=True)
        zygote.start("b", f"{CHILDREN}:crash", signal.SIGSEGV, keeps_stderr=True)
        zygote.start("c", f"{CHILDREN}:write_stderr", b"not kept\n")
        zygote.start("d", f"{CHILDREN}:raise_error", None, keeps_stderr=True)
        tails = {}
        while len(tails) < 4:
            event = zygote.wait_event(SECONDS)
            if isinstance(event, Ended):
                tails[event.key] = event.stderr_tail
    finally:
        zygote.close()
    assert (tails["a"], tails["b"], tails["c"]) == (b"one \xff\n", b"", b"")
    assert b"RuntimeError: not a good day" in tails["d"]
    written = capfd.readouterr().err
    assert "one \ufffd\n" in written
    assert "not kept" in written
    assert "RuntimeError: not a good day" in written


def test_children_have_nothing_of_each_others_standard_error(zygote):
    keys = [str(number) for number in range(8)]
    for key in keys:
        zygote.start(key, f"{CHILDREN}:show_stderr", None, keeps_stderr=True)
    found = {}
    while len(found) < len(keys):
        event = zygote.wait_event(SECONDS)
        if isinstance(event, Said):
            found[event.key] = event.message
    found = list(found.values())
    assert all(where.startswith("pipe:") for where, _ in found)
    assert len({where for where, _ in found}) == len(keys)
    assert len({count for _, count in found}) == 1  # however many others there are


def test_a_descriptor_comes_with_a_childs_word(zygote):
    zygote.start("a", f"{CHILDREN}:send_pipe", b"through the pipe")
    word = gather(zygote, lambda event: isinstance(event, Said))[-1]
    (descriptor,) = word.descriptors
    assert not os.get_inheritable(descriptor)
    with os.fdopen(descriptor, "rb") as pipe:
        assert pipe.read(16) == b"through the pipe"


def test_a_flood_on_standard_error_that_nobody_reads_stops_no_one_else():
    program = "from tests.integration.zygote_children import own_and_flood; own_and_flood()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as owner:
        assert [owner.stdout.readline().split() for _ in range(21)] == [
            *([b"%d" % number] for number in range(20)),
            [b"closed"],
        ]
        owner.stderr.close()
        assert owner.wait(SECONDS) == 0
