"""Limits on logging: each key once in a while, and a bounded number of keys."""

from scaler_runtime.throttle import Throttle


def test_a_key_passes_once_in_its_time():
    throttle = Throttle(seconds=10)
    assert [throttle.allows("a", now) for now in (100, 105, 109.9, 110, 111)] == [True, False, False, True, False]


def test_keys_do_not_hinder_each_other():
    throttle = Throttle()
    assert throttle.allows("a", 0)
    assert throttle.allows(("b", 1), 0)


def test_many_keys_are_refused_until_old_ones_are_forgotten():
    throttle = Throttle(seconds=10)
    passed = sum(throttle.allows(number, 0) for number in range(5000))
    assert passed == 1000
    assert not throttle.allows("another", 9)
    assert throttle.allows("another", 10)


def test_the_table_of_keys_is_emptied():
    throttle = Throttle(seconds=10)
    for number in range(100):
        throttle.allows(number, number)
    assert len(throttle._next) <= 11
