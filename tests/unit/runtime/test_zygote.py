"""How ends are told in words. Real zygotes: tests/integration/test_zygote.py."""

import pytest

from scaler_runtime.zygote import describe_status


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_a_status_in_words(status, words):
    assert describe_status(status) == words
