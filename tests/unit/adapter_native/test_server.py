"""What the native adapter makes of its configuration."""

from scaler_adapter_core.model import ConstantDesire
from scaler_adapter_native import server
from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.options import LoggingConfig, WorkerAdapterConfig, WorkerCapabilities, WorkerConfig


class Runs:
    def __init__(self, monkeypatch):
        self.setup = None
        monkeypatch.setattr(server, "run_adapter", self.run_adapter)

    def run_adapter(self, setup, open_provider):
        self.setup = setup
        assert not setup.context.closed
        return 0


def config(number):
    address = Address.from_string("tcp://127.0.0.1:8516")
    workers = WorkerConfig(
        per_worker_capabilities=WorkerCapabilities({"gpu": 2}), heartbeat_interval_seconds=7, death_timeout_seconds=70
    )
    return NativeWorkerAdapterConfig(
        WorkerAdapterConfig(address, max_workers=number), worker_config=workers, logging_config=LoggingConfig(())
    )


def test_the_configuration_becomes_limits_and_offers(monkeypatch):
    runs = Runs(monkeypatch)
    assert server.run(config(-1)) == 0

    profile = runs.setup.profile
    assert profile.name.startswith("NAT|")
    assert profile.limits.max_groups == -1
    assert profile.limits.poll_seconds is None
    assert profile.capabilities == {"gpu": 2}
    assert (profile.heartbeat_seconds, runs.setup.death_timeout_seconds) == (7, 70)
    assert profile.constant is None
    assert runs.setup.context.closed


def test_a_constant_number_may_take_the_schedulers_place(monkeypatch):
    runs = Runs(monkeypatch)
    constant = ConstantDesire(2)
    server.run_workers(config(2), "FIX", constant=constant, parent_pid=1234)

    assert runs.setup.profile.constant is constant
    assert runs.setup.parent_pid == 1234
