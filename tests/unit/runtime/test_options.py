"""The shared groups of options: their defaults and rules, and the types of their values."""

import pickle
import re

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime import options
from scaler_runtime.config import ConfigError, option_fields
from scaler_runtime.options import (
    LoggingConfig,
    ProcessConfig,
    WorkerAdapterConfig,
    WorkerCapabilities,
    WorkerConfig,
    WorkerNames,
)

ADDRESS = Address("tcp", "127.0.0.1", 8516)


@pytest.mark.parametrize(
    ("config_class", "table"),
    [
        (
            LoggingConfig,
            [
                ("logging_paths", "-lp", ("/dev/stdout",)),
                ("logging_config_file", "-lcf", None),
                ("logging_level", "-ll", "INFO"),
            ],
        ),
        (
            WorkerConfig,
            [
                ("per_worker_capabilities", "-pwc", {}),
                ("per_worker_task_queue_size", "-wtqs", 1000),
                ("heartbeat_interval_seconds", "-his", 2),
                ("task_timeout_seconds", "-tts", 0),
                ("death_timeout_seconds", "-dts", 300),
                ("garbage_collect_interval_seconds", "-gc", 30),
                ("trim_memory_threshold_bytes", "-tm", 1073741824),
                ("hard_processor_suspend", "-hps", False),
            ],
        ),
        (ProcessConfig, [("event_loop", "-el", "builtin"), ("worker_io_threads", "-wit", 1)]),
    ],
)
def test_keys_short_flags_and_defaults(config_class, table):
    assert [(item.key, item.option.short, item.default) for item in option_fields(config_class)] == table


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"per_worker_task_queue_size": 0}, "per_worker_task_queue_size must be a whole number >= 1, not 0"),
        ({"heartbeat_interval_seconds": 0}, "heartbeat_interval_seconds must be a whole number >= 1, not 0"),
        ({"task_timeout_seconds": -1}, "task_timeout_seconds must be a whole number >= 0, not -1"),
        ({"death_timeout_seconds": 0}, "death_timeout_seconds must be a whole number >= 1, not 0"),
        (
            {"garbage_collect_interval_seconds": 0},
            "garbage_collect_interval_seconds must be a whole number >= 1, not 0",
        ),
        ({"trim_memory_threshold_bytes": -1}, "trim_memory_threshold_bytes must be a whole number >= 0, not -1"),
        ({"hard_processor_suspend": "true"}, "hard_processor_suspend must be true or false, not 'true'"),
        ({"per_worker_capabilities": {"gpu": 1}}, "per_worker_capabilities must be a comma list"),
    ],
)
def test_worker_options_are_checked(values, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        WorkerConfig(**values)


def test_logging_options_are_checked():
    assert LoggingConfig(paths=["a", "b"]).paths == ("a", "b")
    assert LoggingConfig(paths=()).paths == ()
    for values in ({"paths": "a"}, {"paths": (1,)}, {"level": "info"}, {"level": "NOTSET"}, {"config_file": 1}):
        with pytest.raises(ConfigError):
            LoggingConfig(**values)


def test_uvloop_must_be_installed(monkeypatch):
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda _name: None)
    assert ProcessConfig().event_loop == "builtin"
    with pytest.raises(ConfigError, match="needs the package uvloop: pip install uvloop") as refused:
        ProcessConfig("uvloop")
    assert refused.value.keys == ("event_loop",)


@pytest.mark.parametrize(("cpus", "workers"), [(None, 1), (1, 1), (2, 1), (8, 7)])
def test_the_usual_number_of_workers(monkeypatch, cpus, workers):
    monkeypatch.setattr(options.os, "cpu_count", lambda: cpus)
    assert WorkerAdapterConfig(ADDRESS).max_workers == workers


def test_adapters_connect_and_have_a_limit():
    assert WorkerAdapterConfig(ADDRESS, None, -1).max_workers == -1
    assert WorkerAdapterConfig(ADDRESS, ADDRESS, 0).object_storage_address == ADDRESS
    with pytest.raises(ConfigError, match="max_workers must be -1 or a whole number >= 0, not -2"):
        WorkerAdapterConfig(ADDRESS, None, -2)
    for addresses in ((ADDRESS.with_port(0),), (ADDRESS, ADDRESS.with_port(0))):
        with pytest.raises(ConfigError, match="must be an address with a port from 1 on"):
            WorkerAdapterConfig(*addresses)


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("", {}),
        ("gpu", {"gpu": -1}),
        ("gpu=2,linux", {"gpu": 2, "linux": -1}),
        (" gpu = 0 , big memory = -1 ", {"gpu": 0, "big memory": -1}),
    ],
)
def test_capabilities_are_read_and_are_a_mapping(text, capabilities):
    read = WorkerCapabilities.from_string(text)
    assert read == capabilities
    assert dict(read) == read.capabilities == capabilities
    assert WorkerCapabilities.from_string(str(read)) == read == WorkerCapabilities(capabilities)
    assert pickle.loads(pickle.dumps(read)) == read


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("gpu=two", "gpu=two"),
        ("=1", "=1"),
        ("a,,b", ""),
        ("a,", ""),
        ("gpu=-2", "gpu=-2"),
        ("gpu=", "gpu="),
        ("gpu=1.5", "gpu=1.5"),
        ("gpu==1", "gpu==1"),
        ("linux,gpu=1,gpu=2", "gpu=2"),
        ("gpu,gpu", "gpu"),
    ],
)
def test_bad_capabilities_are_refused_with_the_item(text, item):
    with pytest.raises(ValueError, match=f"^the item {re.escape(repr(item))} "):
        WorkerCapabilities.from_string(text)


@pytest.mark.parametrize("capabilities", [{"": 1}, {"gpu": -2}, {"gpu": True}, {"gpu": "1"}, {1: 1}])
def test_bad_capabilities_are_refused_in_python(capabilities):
    with pytest.raises(ValueError, match="the item"):
        WorkerCapabilities(capabilities)


def test_names_are_read_and_are_a_sequence():
    names = WorkerNames.from_string(" alice , bob")
    assert list(names) == ["alice", "bob"]
    assert (names[1], names[:1], len(names), str(names)) == ("bob", ("alice",), 2, "alice,bob")
    assert not WorkerNames.from_string("")
    assert pickle.loads(pickle.dumps(names)) == names


@pytest.mark.parametrize("text", ["a,,b", "a|b", ",", "a, "])
def test_bad_names_are_refused(text):
    with pytest.raises(ValueError, match="the name"):
        WorkerNames.from_string(text)
