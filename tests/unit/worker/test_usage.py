"""What processes use of the machine."""

import os
import subprocess
import sys

from scaler_worker.usage import LEAST_SECONDS, Usage, UsageMeter


def test_the_host_its_workers_and_the_machine_are_measured():
    usage = UsageMeter().measure({"w": [os.getpid()]}, 0.0)

    assert usage.host.rss > 1 << 20
    assert usage.of("w").rss > 1 << 20
    assert usage.free_memory > 1 << 20


def test_a_worker_is_the_sum_of_its_processes():
    usage = UsageMeter().measure({"one": [os.getpid()], "two": [os.getpid(), os.getpid()]}, 0.0)

    assert usage.of("two").rss >= 1.9 * usage.of("one").rss


def test_work_since_the_measurement_before_is_seen():
    meter = UsageMeter()
    meter.measure({"w": [os.getpid()]}, 0.0)
    before = os.times()
    while (now := os.times()).user - before.user < 0.2:
        sum(range(10_000))

    usage = meter.measure({"w": [os.getpid()]}, LEAST_SECONDS)

    busy = 100 * (now.user - before.user) / (now.elapsed - before.elapsed)
    assert usage.of("w").cpu > busy / 2


def test_processes_that_are_gone_or_unknown_count_nothing():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    usage = UsageMeter().measure({"gone": [ended.pid], "starting": []}, 0.0)

    assert usage.of("gone") == usage.of("starting") == usage.of("never heard of") == Usage()


def test_reports_in_quick_succession_repeat_the_last_figures():
    meter = UsageMeter()
    first = meter.measure({"w": [os.getpid()]}, 0.0)

    assert meter.measure({}, LEAST_SECONDS / 2) is first
    assert meter.measure({}, LEAST_SECONDS).of("w") == Usage()
