"""A cluster is the fixed native adapter with names, and says in one line why it ended."""

import pytest

from scaler_cluster import server
from scaler_cluster.config import ClusterConfig
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.config import ConfigError
from scaler_runtime.options import WorkerNames
from scaler_runtime.program import ProgramError
from scaler_worker.processes import PRELOAD

CONFIG = ClusterConfig(Address("tcp", "127.0.0.1", 8516), num_of_workers=2, preload="models:load")


class Channel:
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


@pytest.fixture
def calls(monkeypatch):
    """Gathers the calls of the fixed native adapter; a call raises `failure`, if that is set on the list."""
    calls = Calls()
    monkeypatch.setattr(server, "run_fixed", calls)
    monkeypatch.setattr(server, "setup_logging", calls.logs.append)
    monkeypatch.setattr(server, "Zygote", lambda preload, fork: ("zygote", preload, fork, calls.logs[:]))
    return calls


class Calls(list):
    failure = None

    def __init__(self):
        self.logs = []

    def __call__(self, config, **keywords):
        self.append((config, keywords))
        if self.failure is not None:
            raise self.failure
        return 0


def test_it_is_the_fixed_native_adapter_with_the_same_options(calls):
    assert server.run(CONFIG) == 0

    ((fixed, keywords),) = calls
    assert fixed.worker_adapter_config.scheduler_address == CONFIG.scheduler_address
    assert fixed.worker_adapter_config.max_workers == 2
    assert fixed.preload == "models:load"
    assert fixed.worker_config is CONFIG.worker_config
    assert fixed.logging_config is CONFIG.logging_config
    assert fixed.process_config is CONFIG.process_config
    assert not fixed.restart
    assert keywords == {"names": (short_host_name(),) * 2, "zygote": None, "parent_pid": None, "announce": None}


def test_workers_have_the_names_they_were_given(calls):
    server.run(ClusterConfig(CONFIG.scheduler_address, num_of_workers=2, worker_names=WorkerNames(("alice", "bob"))))

    assert calls[0][1]["names"] == ("alice", "bob")


def test_a_child_ends_with_its_parent_and_forks_its_workers(calls):
    channel = Channel()

    assert server.run_child((CONFIG, 41), channel) == 0
    keywords = calls[0][1]
    assert keywords["parent_pid"] == 41
    assert keywords["zygote"] == ("zygote", PRELOAD, True, [CONFIG.logging_config]), "workers inherit the log"
    keywords["announce"](("ready",))
    assert channel.said == [("ready",)]


def test_a_failing_child_logs_the_reason(calls, caplog):
    calls.failure = ProgramError("no scheduler")

    assert server.run_child((CONFIG, 41), Channel()) == 1
    assert caplog.messages == ["no scheduler"]


def test_a_child_whose_options_cannot_be_used_says_why(calls):
    calls.failure = ConfigError("logging_paths: cannot write")
    channel = Channel()

    assert server.run_child((CONFIG, 41), channel) == 2
    assert channel.said == [("failed", "logging_paths: cannot write")]
