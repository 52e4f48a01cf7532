"""How an end is told."""

import pytest

from scaler_adapter_container.ends import reason_of
from scaler_adapter_container.engine import End


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (End(0, False, 0, "", ("bye",)), "the container ended in order (exit code 0)"),
        (End(1, False, 0, "", ()), "the container ended with exit code 1"),
        (End(1, False, 0, "", ("a", "b")), "the container ended with exit code 1: b"),
        (End(137, False, 0, "", ()), "the container was ended by SIGKILL (exit code 137)"),
        (End(139, False, 0, "", ()), "the container was ended by SIGSEGV (exit code 139)"),
        (End(255, False, 0, "", ()), "the container ended with exit code 255"),
        (End(137, True, 512 << 20, "", ()), "the container was ended by its memory limit of 512 MiB"),
        (End(1, True, 3 << 29, "", ("died",)), "the container was ended by its memory limit of 1.5 GiB: died"),
        (End(137, True, 0, "", ()), "the container was ended by lack of memory"),
    ],
)
def test_the_cause_is_named(end, reason):
    assert reason_of(end) == reason


def test_where_the_engine_does_not_say_it_a_kill_may_have_been_the_limit():
    reason = reason_of(End(137, False, 64 << 10, "", ()))
    assert reason == "the container was ended by SIGKILL, from outside or by its memory limit of 64 KiB (exit code 137)"


@pytest.mark.parametrize(("memory", "kills", "named"), [(64 << 20, 1, True), (64 << 20, 0, False), (0, 1, False)])
def test_the_workers_may_know_of_the_limit_what_the_engine_does_not_say(memory, kills, named):
    last = f"died of SIGKILL; 60 MiB in use when last measured, out-of-memory kills in its control group: {kills}"
    assert ("memory limit of 64 MiB" in reason_of(End(1, False, memory, "", (last,)))) is named


def test_an_image_without_workers_is_named():
    assert "the image has no scaler-worker" in reason_of(
        End(1, False, 0, "", ("/usr/bin/python3: Error while finding module: No module named 'scaler_worker'",))
    )


def test_a_long_last_line_is_cut():
    assert len(reason_of(End(1, False, 0, "", ("x" * 10_000,)))) < 600
