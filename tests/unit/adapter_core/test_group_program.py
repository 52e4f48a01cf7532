"""The arguments of the program that an engine runs are those that it reads."""

from dataclasses import replace

import pytest

from scaler_adapter_core.group_program import GROUP_MODULE, MISSING_MODULE, group_arguments, group_variables
from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import option_fields
from scaler_runtime.options import LoggingConfig, ProcessConfig, WorkerAdapterConfig, WorkerCapabilities, WorkerConfig
from scaler_worker.config import WorkerGroupConfig
from scaler_worker.group import __name__ as module_name

ADDRESS = Address.from_string("tcp://[::1]:8516")
WORKERS = WorkerConfig(
    WorkerCapabilities({"gpu": 2, "fast": -1}),
    heartbeat_interval_seconds=3,
    task_timeout_seconds=4,
    death_timeout_seconds=5,
    hard_processor_suspend=True,
)


@pytest.mark.parametrize(
    ("adapter", "preload"),
    [
        (WorkerAdapterConfig(ADDRESS), None),
        (WorkerAdapterConfig(ADDRESS, Address.from_string("ipc:///a b")), "module:function('x y', 1)"),
    ],
)
def test_the_program_reads_what_it_was_given(adapter, preload):
    process = ProcessConfig(worker_io_threads=2)
    arguments = group_arguments("g-1", "alice", 3, adapter, WORKERS, process, preload=preload, logging_level="WARNING")
    config = parse_command(Command("group", "worker_group", WorkerGroupConfig, {}), arguments).config

    assert config == WorkerGroupConfig(
        ADDRESS,
        "g-1",
        adapter.object_storage_address,
        preload,
        "alice",
        3,
        replace(WORKERS, per_worker_capabilities=config.worker_config.per_worker_capabilities),
        process,
        LoggingConfig(level="WARNING"),
    )
    assert dict(config.worker_config.per_worker_capabilities) == {"gpu": 2, "fast": -1}


def test_no_variable_of_the_adapter_can_reach_it():
    assert {item.variable for item in option_fields(WorkerGroupConfig)} <= set(group_variables())


def test_the_program_is_there():
    assert module_name == GROUP_MODULE
    assert repr(GROUP_MODULE.partition(".")[0]) in MISSING_MODULE
