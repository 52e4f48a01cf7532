"""What tasks are said to have taken, by real workers."""

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import TaskExitedError
from tests.integration import failing_tasks
from tests.integration import output_tasks as tasks

pytestmark = pytest.mark.integration

MIB = 1 << 20


@pytest.fixture(scope="module")
def address():
    with SchedulerClusterCombo(n_workers=1) as combo:
        yield combo.get_address()


@pytest.fixture
def client(address):
    with Client(address, profiling=True) as client:
        yield client


def profile_of(future):
    future.exception()
    return future.profiling_info()


def test_time_memory_and_processor_of_one_task(client):
    profile = profile_of(client.submit(tasks.burn, 0.3))
    assert 0.3 <= profile.cpu_time_s <= profile.duration_s + 0.1
    assert profile.memory_peak < 10 * MIB
    profile = profile_of(client.submit(tasks.take_memory, 64 * MIB, 0.05))
    assert profile.duration_s >= 0.05
    assert profile.cpu_time_s < profile.duration_s


def test_memory_is_looked_at_each_second(client):
    profile = profile_of(client.submit(tasks.take_memory, 64 * MIB, 1.5))
    assert 60 * MIB < profile.memory_peak < 80 * MIB


def test_each_of_many_tasks_has_its_own_figures(client):
    futures = [client.submit(tasks.burn, seconds) for seconds in (0.2, 0.0, 0.1, 0.0)]
    profiles = [profile_of(future) for future in futures]
    for profile, seconds in zip(profiles, (0.2, 0.0, 0.1, 0.0), strict=True):
        assert seconds <= profile.cpu_time_s < seconds + 0.05
        assert seconds <= profile.duration_s
    futures = [client.submit(abs, -number) for number in range(1000)]
    assert all(profile_of(future).cpu_time_s > 0 for future in futures)


def test_tasks_that_fail_have_figures_too(client):
    profile = profile_of(client.submit(tasks.burn_and_raise, 0.1))
    assert 0.1 <= profile.cpu_time_s <= profile.duration_s + 0.1
    future = client.submit(failing_tasks.exit_with, 3)
    assert isinstance(future.exception(), TaskExitedError)
    assert future.profiling_info().cpu_time_s > 0


def test_without_profiling_there_is_the_duration(address):
    with Client(address) as client:
        future = client.submit(tasks.burn, 0.1)
        with pytest.raises(ValueError, match="not ended"):
            future.profiling_info()
        profile = profile_of(future)
    assert profile.duration_s >= 0.1
    assert (profile.memory_peak, profile.cpu_time_s) == (0, 0.0)
