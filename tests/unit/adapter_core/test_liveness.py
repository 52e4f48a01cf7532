"""Silence counts only while this process is awake."""

from scaler_adapter_core.liveness import Silence


def test_it_is_over_after_the_limit():
    silence = Silence(10, 1, 0.0)

    assert [silence.is_over(None, float(now)) for now in range(1, 12)] == [False] * 9 + [True, True]


def test_a_sign_of_life_begins_it_anew():
    silence = Silence(3, 1, 0.0)
    for now in range(1, 20):
        assert not silence.is_over(float(now // 2), float(now))


def test_a_process_that_was_stopped_has_not_listened():
    silence = Silence(10, 1, 0.0)
    silence.is_over(0.5, 1.0)

    assert not silence.is_over(0.5, 500.0)
    assert [silence.is_over(0.5, 500.0 + number) for number in range(1, 9)] == [False] * 7 + [True]
