"""What the fixed native adapter makes of its configuration."""

import pytest

from scaler_adapter_core.model import ConstantDesire
from scaler_adapter_fixed_native import server
from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError
from scaler_runtime.options import WorkerAdapterConfig
from scaler_runtime.program import ProgramError
from scaler_worker.processes import PRELOAD


def config(number=3, **options):
    address = Address.from_string("tcp://127.0.0.1:8516")
    return FixedNativeWorkerAdapterConfig(WorkerAdapterConfig(address, max_workers=number), **options)


class Calls:
    def __init__(self, monkeypatch):
        self.last = None
        self.failure = None
        monkeypatch.setattr(server, "run_workers", self.run_workers)
        self.logs = []
        monkeypatch.setattr(server, "setup_logging", self.logs.append)
        monkeypatch.setattr(server, "Zygote", lambda preload, *, fork: ("zygote", preload, fork, self.logs[:]))

    def run_workers(self, native, prefix, **arguments):
        self.last = native, prefix, arguments
        if self.failure is not None:
            arguments["announce"](("failed", self.failure))
            raise ProgramError(self.failure)
        return 0


class Channel:
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def test_it_is_the_native_adapter_with_a_constant_desire(monkeypatch):
    calls = Calls(monkeypatch)
    given = config(preload="module:function", restart=True)

    assert server.run(given) == 0
    native, prefix, arguments = calls.last
    assert prefix == "FIX"
    assert arguments["constant"] == ConstantDesire(3, restart=True)
    assert (native.worker_adapter_config, native.preload) == (given.worker_adapter_config, "module:function")


def test_workers_may_have_names(monkeypatch):
    calls = Calls(monkeypatch)
    server.run_fixed(config(2), names=["alice", "bob"])

    assert calls.last[2]["constant"] == ConstantDesire(2, names=("alice", "bob"))


def test_a_child_forks_its_workers_from_itself_and_says_what_became_of_it(monkeypatch):
    calls, channel = Calls(monkeypatch), Channel()
    given = config()
    assert server.run_child((given, 1234), channel) == 0
    arguments = calls.last[2]
    assert arguments["zygote"] == ("zygote", PRELOAD, True, [given.logging_config]), "workers inherit the log"
    assert arguments["parent_pid"] == 1234

    calls.failure = "preload failed"
    assert server.run_child((config(), 1234), channel) == 1
    assert channel.said == [("failed", "preload failed")]


def test_a_child_says_that_its_log_has_no_place(monkeypatch):
    Calls(monkeypatch)
    channel = Channel()

    def refuse(_config):
        raise ConfigError("logging_paths: cannot write to 'x'", "logging_paths")

    monkeypatch.setattr(server, "setup_logging", refuse)
    assert server.run_child((config(), 1234), channel) == 2
    assert channel.said == [("failed", "logging_paths: cannot write to 'x'")]


@pytest.mark.parametrize("number", [0, 1])
def test_any_number_from_zero_on_is_right(monkeypatch, number):
    calls = Calls(monkeypatch)
    server.run(config(number))

    assert calls.last[2]["constant"].count == number
