"""What a task is said to have taken. Real figures: tests/integration/test_profiling.py."""

from scaler_worker.profile import NOTHING, Profile, Usage


class Machine:
    def __init__(self):
        self.resident = 1000
        self.cpu = 5.0
        self.time = 0.0

    def profile(self):
        return Profile(resident_bytes=lambda: self.resident, cpu_seconds=lambda: self.cpu, clock=lambda: self.time)


def test_time_and_the_highest_memory_that_was_seen():
    machine = Machine()
    profile = machine.profile()
    profile.begin()
    machine.resident = 5000
    profile.sample()
    machine.resident, machine.cpu, machine.time = 1500, 5.5, 2.0
    assert profile.stop() == 2.0
    assert profile.take() == Usage(4000, 0.5)
    assert profile.take() == NOTHING


def test_memory_that_was_given_back_counts_as_none():
    machine = Machine()
    profile = machine.profile()
    profile.begin()
    machine.resident = 10
    profile.stop()
    assert profile.take().memory == 0


def test_what_was_not_begun_is_not_measured():
    profile = Machine().profile()
    assert profile.stop() is None
    profile.sample()
    assert profile.take() is NOTHING


def test_a_task_is_not_charged_for_the_one_before():
    machine = Machine()
    profile = machine.profile()
    profile.begin()
    machine.resident = 9000
    profile.stop()
    profile.begin()
    machine.resident = 9001
    profile.stop()
    assert profile.take().memory == 1


def test_this_process_has_figures():
    profile = Profile()
    profile.begin()
    block = bytearray(32 << 20)
    block[::4096] = b"x" * (len(block) // 4096)
    assert profile.stop() > 0
    usage = profile.take()
    assert usage.memory >= 30 << 20
    assert usage.cpu_seconds > 0
