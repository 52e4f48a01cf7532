"""Pauses grow by cause, count a burst once, and end with success."""

import pytest

from scaler_adapter_core.backoff import BREAKER_FAILURES, MOST_SECONDS, Backoff, Cause, pause_after


def fail(backoff, cause, now, **arguments):
    return backoff.failed(cause, "because", now, **{"launched_at": now - 0.01, **arguments})


def test_pauses_double():
    backoff, now, pauses = Backoff(), 100.0, []
    for _ in range(10):
        pause = fail(backoff, Cause.NO_CAPACITY, now)
        pauses.append(pause.until - now)
        now = pause.until + 0.1

    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_longest_pause_is_a_minute_however_often_it_fails():
    assert [pause_after(failures) for failures in (1, 2, 7, 8, 5000)] == [0.5, 1.0, 32.0, 60.0, 60.0]


def test_failures_of_one_burst_count_once():
    backoff = Backoff()
    for _ in range(100):
        pause = fail(backoff, Cause.START, 100.0, launched_at=99.0)
    late = backoff.failed(Cause.START, "later", 105.0, launched_at=99.0)

    assert (pause.failures, pause.until) == (1, 100.5)
    assert (late.failures, late.until, late.reason) == (1, 100.5, "later")


def test_the_breaker_opens_after_failures_to_start_only():
    for cause, is_broken in ((Cause.START, True), (Cause.INVALID, True), (Cause.QUOTA, False), (Cause.ENDED, False)):
        backoff, now = Backoff(), 100.0
        for _ in range(BREAKER_FAILURES):
            pause = fail(backoff, cause, now)
            now += 10
        assert pause.is_broken is is_broken
        assert (pause.until - pause.failed_at == MOST_SECONDS) is is_broken


def test_what_the_engine_says_is_waited_for():
    assert fail(Backoff(), Cause.NO_CAPACITY, 100.0, retry_after_seconds=500).until == 600


def test_an_accepted_launch_ends_what_kept_launches_from_it():
    backoff = Backoff()
    for cause in Cause:
        fail(backoff, cause, 100.0)
    backoff.on_accepted()

    assert backoff.trying.cause is Cause.START


@pytest.mark.parametrize(("launched_at", "is_forgotten"), [(99.0, False), (100.5, True)])
def test_a_group_that_came_up_after_a_failure_ends_its_row(launched_at, is_forgotten):
    backoff = Backoff()
    fail(backoff, Cause.START, 100.0)

    assert backoff.on_up(launched_at) is is_forgotten
    assert (backoff.trying is None) is is_forgotten


def test_groups_that_end_unasked_now_and_then_are_replaced_quickly_and_all_at_once():
    backoff = Backoff()
    fail(backoff, Cause.ENDED, 100.0)
    assert fail(backoff, Cause.ENDED, 101.0).failures == 2
    assert fail(backoff, Cause.ENDED, 200.0).failures == 1
    assert backoff.trying is None


def test_what_is_said_stays_the_same_while_nothing_changes():
    backoff = Backoff()
    text = fail(backoff, Cause.START, 100.0).text

    assert text == "the start failed, next attempt after 0.5 s: because"
    assert backoff.longest.text == text
