"""Numbers and names in few characters."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_scheduler.top import figures


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0b"), (1023, "1023b"), (1536, "1.5k"), (118_800_000, "113.3m"), (1 << 33, "8.0g"), (2**64 - 1, "16.0e")],
)
def test_sizes(number, text):
    assert figures.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "silent", "text"),
    [
        (0.0007, 0.0, "0.7ms"),
        (0.0007, 5.0, "0.7ms"),
        (0.0007, 12.4, "(12s) 0.7ms"),
        (2.5, 0.0, "2.5s"),
        (nan, 0.0, "?"),
        (0.1, inf, "?"),
    ],
)
def test_a_lag_is_preceded_by_more_than_5_seconds_of_silence(seconds, silent, text):
    assert figures.lag(seconds, silent) == text


def test_counts_and_shares():
    assert (figures.count(53704), figures.percent(12.34)) == ("53,704", "12.3%")


@given(st.text())
def test_no_name_can_command_a_terminal(text):
    assert figures.name(text).isprintable()
    assert len(figures.name(text)) == len(text)


def test_printable_names_stay_as_they_are():
    assert figures.name("Worker|Zoë|0") == "Worker|Zoë|0"
