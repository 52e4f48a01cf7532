"""The options of the native worker adapter."""

import pickle

import pytest

from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError, option_fields
from scaler_runtime.options import LoggingConfig, WorkerAdapterConfig, WorkerCapabilities, WorkerConfig

ADDRESS = Address("tcp", "127.0.0.1", 8516)
COMMAND = Command("native", "native_worker_adapter", NativeWorkerAdapterConfig, {})


def test_keys_are_those_of_the_groups_and_preload():
    keys = [item.key for item in option_fields(NativeWorkerAdapterConfig)]
    assert keys[:5] == [
        "scheduler_address",
        "object_storage_address",
        "max_workers",
        "preload",
        "per_worker_capabilities",
    ]
    assert keys[-5:] == [
        "logging_paths",
        "logging_config_file",
        "logging_level",
        "event_loop",
        "worker_io_threads",
    ]


def test_the_command_line_makes_a_configuration():
    arguments = [str(ADDRESS), "-mw", "-1", "-pwc", "gpu=2,linux", "-lp", "-", "log", "--preload", "os:getpid()"]
    config = parse_command(COMMAND, arguments).config
    assert config == NativeWorkerAdapterConfig(
        WorkerAdapterConfig(ADDRESS, None, -1),
        "os:getpid()",
        WorkerConfig(WorkerCapabilities({"gpu": 2, "linux": -1})),
        LoggingConfig(("/dev/stdout", "log")),
    )
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_preload_is_checked_where_it_is_given():
    with pytest.raises(ConfigError, match=r"preload must be pkg\.mod:func or .*, not 'os'"):
        NativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS), "os")
