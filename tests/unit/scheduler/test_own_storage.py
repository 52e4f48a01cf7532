"""When an object storage that ended is started again. Real ones: tests/integration/test_object_storage_in_line.py."""

import signal

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.options import LoggingConfig, ProcessConfig
from scaler_runtime.zygote import Ended, Said, Started, ZygoteEnded
from scaler_scheduler import own_storage
from scaler_scheduler.own_storage import (
    FIRST_PAUSE_SECONDS,
    HANDOVER_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STABLE_SECONDS,
    OwnStorage,
)

ADDRESS = Address("ipc", "/somewhere")


class FakeZygote:
    """Starts nothing; what its child is said to do comes from the test."""

    def __init__(self, preload, *, fork, orphan_seconds):
        assert orphan_seconds > 0  # else the objects of a killed scheduler would be lost
        self.started = []
        self.is_closed = False
        self.pending = []

    def fileno(self):
        return 0

    def start(self, key, target, arguments, *, ends_when_asked):
        self.started.append(arguments)

    def events(self):
        pending, self.pending = self.pending, []
        return pending

    def close(self):
        self.is_closed = True


class FakeLoop:
    """A loop whose time the test tells; keeps the one timer that there is."""

    def __init__(self):
        self.readers = {}
        self.pause = None

    def add_reader(self, descriptor, callback):
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor):
        self.readers.pop(descriptor, None)

    def call_later(self, seconds, callback):
        self.pause = seconds
        self.due = callback
        return self

    def cancel(self):
        self.pause = None


class Stage:
    def __init__(self, monkeypatch):
        self.now = 100.0
        self.zygotes = []
        self.loop = FakeLoop()
        self.told = []
        monkeypatch.setattr(own_storage, "Zygote", self._zygote)
        monkeypatch.setattr(own_storage.asyncio, "get_running_loop", lambda: self.loop)
        self.storage = OwnStorage(LoggingConfig(), ProcessConfig(), 7, clock=lambda: self.now)
        self.storage.start(ADDRESS, lambda: self.told.append("listening"), self.told.append)

    def _zygote(self, *arguments, **options):
        self.zygotes.append(FakeZygote(*arguments, **options))
        return self.zygotes[-1]

    @property
    def starts(self):
        return sum(len(zygote.started) for zygote in self.zygotes)

    def happens(self, *events):
        self.zygotes[-1].pending += events
        self.loop.readers[0]()

    def listens(self):
        self.happens(Started("", 1), Said("", ("listening", str(ADDRESS))))

    def dies(self):
        self.happens(Ended("", 1, None, signal.SIGKILL))

    def pass_pause(self):
        """Let the pause pass, and return how long it was."""
        pause = self.loop.pause
        self.now += pause
        self.loop.due()
        return pause


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_it_is_told_where_to_listen_and_who_counts_on_it(stage):
    (hosted,) = stage.zygotes[0].started

    assert hosted.config.object_storage_address == ADDRESS
    assert hosted.heir_pid == 7


def test_that_it_listens_is_told_once(stage):
    stage.listens()
    stage.dies()
    stage.pass_pause()
    stage.listens()

    assert stage.told == ["listening"]
    assert stage.starts == 2


def test_pauses_grow_up_to_a_limit(stage):
    stage.listens()
    pauses = []
    for _ in range(10):
        stage.dies()
        pauses.append(stage.pass_pause())

    assert pauses[0] == 0
    assert pauses[1] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_one_that_served_for_long_is_started_again_at_once(stage):
    stage.listens()
    for _ in range(5):
        stage.dies()
        stage.pass_pause()
    stage.listens()
    stage.now += STABLE_SECONDS
    stage.dies()

    assert stage.pass_pause() == 0


def test_one_that_cannot_begin_is_tried_until_its_predecessor_must_have_let_go(stage):
    while not stage.told:
        stage.happens(Said("", ("failed", "cannot listen there")), Ended("", 1, 1, None))
        if not stage.told:
            stage.pass_pause()

    assert stage.told == ["cannot listen there"]
    assert 100.0 + HANDOVER_SECONDS <= stage.now < 100.0 + 2 * HANDOVER_SECONDS
    assert stage.starts > 3


def test_one_that_has_served_is_tried_for_ever(stage):
    stage.listens()
    for _ in range(100):
        stage.happens(Said("", ("failed", "the port is taken")), Ended("", 1, 1, None))
        stage.pass_pause()

    assert stage.told == ["listening"]
    assert stage.starts == 101


def test_a_launcher_that_ended_is_replaced_when_it_is_needed(stage):
    stage.listens()
    for count in range(1, 4):
        stage.happens(ZygoteEnded("killed"))
        assert len(stage.zygotes) == count
        stage.pass_pause()
        assert len(stage.zygotes) == count + 1

    assert stage.starts == 4
    assert stage.told == ["listening"]


def test_what_was_never_started_is_ended_at_once(stage):
    stage.storage.abandon()
    stage.storage.abandon()

    assert stage.zygotes[0].is_closed
