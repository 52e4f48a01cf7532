"""A signal ends a program in order before it has handlers of its own, also in the middle of an import."""

import os
import signal

import pytest

from scaler_runtime import early_signals


@pytest.fixture
def exits(monkeypatch):
    before = {number: signal.getsignal(number) for number in early_signals.STOP_SIGNALS}
    codes = []
    monkeypatch.setattr("os._exit", codes.append)
    yield codes
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_with_exit_code_zero(number, exits):
    early_signals.end_when_asked()

    os.kill(os.getpid(), number)

    assert exits == [0]
