"""The import paths, shapes and constants that programs written for the reference use."""

import dataclasses
import importlib
import inspect
import logging
import os
import socket

import pytest

from scaler.cluster.object_storage_server import ObjectStorageServerProcess
from scaler.cluster.scheduler import Scheduler, SchedulerProcess
from scaler.config import defaults
from scaler.config.common.logging import LoggingConfig
from scaler.config.common.worker import WorkerConfig
from scaler.config.common.worker_adapter import WorkerAdapterConfig
from scaler.config.section.cluster import ClusterConfig
from scaler.config.section.fixed_native_worker_adapter import FixedNativeWorkerAdapterConfig
from scaler.config.section.native_worker_adapter import NativeWorkerAdapterConfig
from scaler.config.section.scheduler import PolicyConfig, SchedulerConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.worker import WorkerCapabilities, WorkerNames
from scaler.config.types.zmq import ZMQConfig, ZMQType
from scaler.utility.logging.scoped_logger import ScopedLogger
from scaler.utility.logging.utility import setup_logger
from scaler.utility.network_util import get_available_tcp_port
from scaler.worker.agent.processor.processor import Processor
from scaler_client import context
from scaler_protocol.addresses import Address

ADDRESS = ZMQConfig(ZMQType.tcp, "127.0.0.1", 8516)

PATHS = {
    "scaler.client.client": ["Client", "ScalerFuture"],
    "scaler.client.future": ["ScalerFuture"],
    "scaler.client.object_reference": ["ObjectReference"],
    "scaler.client.serializer.default": ["DefaultSerializer"],
    "scaler.client.serializer.mixins": ["Serializer"],
    "scaler.cluster.cluster": ["Cluster"],
    "scaler.cluster.combo": ["SchedulerClusterCombo"],
    "scaler.cluster.scheduler": ["Scheduler", "SchedulerProcess"],
    "scaler.cluster.object_storage_server": ["ObjectStorageServerProcess"],
    "scaler.utility.exceptions": [
        "ProcessorDiedError",
        "TaskExitedError",
        "WorkerDiedError",
        "TaskTimeoutError",
        "SchedulerFullError",
        "TaskSerializationError",
        "ResultNotSerializableError",
        "TaskExceptionNotSerializableError",
        "DeserializeObjectError",
        "MissingObjects",
        "ClientQuitException",
        "ClientShutdownException",
        "ClientCancelledException",
        "ObjectStorageException",
        "TaskNotFoundError",
        "NoWorkerError",
        "DisconnectedError",
        "SchedulerWarning",
    ],
    "scaler.config.common.logging": ["LoggingConfig"],
    "scaler.config.common.worker": ["WorkerConfig"],
    "scaler.config.common.worker_adapter": ["WorkerAdapterConfig"],
    "scaler.config.section.cluster": ["ClusterConfig"],
    "scaler.config.section.scheduler": ["PolicyConfig", "SchedulerConfig"],
    "scaler.config.section.native_worker_adapter": ["NativeWorkerAdapterConfig"],
    "scaler.config.section.fixed_native_worker_adapter": ["FixedNativeWorkerAdapterConfig"],
    "scaler.config.types.worker": ["WorkerNames", "WorkerCapabilities"],
    "scaler.config.types.zmq": ["ZMQType", "ZMQConfig"],
    "scaler.config.types.object_storage_server": ["ObjectStorageAddressConfig"],
    "scaler.utility.network_util": ["get_available_tcp_port"],
    "scaler.utility.logging.utility": ["setup_logger"],
    "scaler.utility.logging.scoped_logger": ["ScopedLogger"],
    "scaler.utility.graph.optimization": ["cull_graph"],
    "scaler.worker.preload": ["PreloadSpecError", "execute_preload"],
    "scaler.worker.agent.processor.processor": ["Processor"],
    "scaler.worker_adapter.native": ["NativeWorkerAdapter"],
}

SHAPES = {
    LoggingConfig: "paths config_file level",
    WorkerConfig: "per_worker_capabilities per_worker_task_queue_size heartbeat_interval_seconds task_timeout_seconds "
    "death_timeout_seconds garbage_collect_interval_seconds trim_memory_threshold_bytes hard_processor_suspend",
    WorkerAdapterConfig: "scheduler_address object_storage_address max_workers",
    ClusterConfig: "scheduler_address object_storage_address preload worker_names num_of_workers event_loop "
    "worker_io_threads worker_config logging_config",
    PolicyConfig: "policy_engine_type policy_content",
    SchedulerConfig: "scheduler_address object_storage_address monitor_address protected max_number_of_tasks_waiting "
    "client_timeout_seconds worker_timeout_seconds object_retention_seconds load_balance_seconds "
    "load_balance_trigger_times event_loop worker_io_threads logging_config policy task_retry_limit",
    NativeWorkerAdapterConfig: "worker_adapter_config preload worker_config logging_config event_loop "
    "worker_io_threads",
    FixedNativeWorkerAdapterConfig: "worker_adapter_config preload worker_config logging_config event_loop "
    "worker_io_threads restart",
    WorkerNames: "names",
    WorkerCapabilities: "capabilities",
    ZMQConfig: "type host port",
    ObjectStorageAddressConfig: "host port identity",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_gives_what_is_promised(path):
    module = importlib.import_module(path)

    assert {name for name in PATHS[path] if isinstance(getattr(module, name, None), type | type(lambda: 0))} == set(
        PATHS[path]
    )


@pytest.mark.parametrize("config_class", SHAPES)
def test_a_configuration_has_the_promised_fields_in_order(config_class):
    assert [field.name for field in dataclasses.fields(config_class)] == SHAPES[config_class].split()


def test_constants():
    assert {name: value for name, value in vars(defaults).items() if name.startswith("DEFAULT_")} == {
        "DEFAULT_CLIENT_TIMEOUT_SECONDS": 60,
        "DEFAULT_WORKER_TIMEOUT_SECONDS": 60,
        "DEFAULT_OBJECT_RETENTION_SECONDS": 60,
        "DEFAULT_WORKER_ADAPTER_TIMEOUT_SECONDS": 10,
        "DEFAULT_HEARTBEAT_INTERVAL_SECONDS": 2,
        "DEFAULT_LOAD_BALANCE_TRIGGER_TIMES": 2,
        "DEFAULT_TASK_TIMEOUT_SECONDS": 0,
        "DEFAULT_WORKER_DEATH_TIMEOUT": 300,
        "DEFAULT_LOAD_BALANCE_SECONDS": 1,
        "DEFAULT_IO_THREADS": 1,
        "DEFAULT_GARBAGE_COLLECT_INTERVAL_SECONDS": 30,
        "DEFAULT_TRIM_MEMORY_THRESHOLD_BYTES": 1073741824,
        "DEFAULT_PER_WORKER_QUEUE_SIZE": 1000,
        "DEFAULT_MAX_NUMBER_OF_TASKS_WAITING": -1,
        "DEFAULT_HARD_PROCESSOR_SUSPEND": False,
        "DEFAULT_LOGGING_LEVEL": "INFO",
        "DEFAULT_LOGGING_PATHS": ("/dev/stdout",),
        "DEFAULT_PROCESSOR_KILL_DELAY_SECONDS": 3,
        "DEFAULT_NUMBER_OF_WORKER": max(1, (os.cpu_count() or 1) - 1),
    }


@pytest.mark.parametrize(
    "config",
    [
        ClusterConfig(ADDRESS),
        SchedulerConfig(ADDRESS),
        NativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS)),
        FixedNativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS)),
        WorkerAdapterConfig(ADDRESS),
    ],
)
def test_defaults_are_those_of_the_commands(config):
    options = config.to_options()
    address = Address.from_string(str(ADDRESS))
    required = {
        field.name: WorkerAdapterConfig(ADDRESS).to_options() if field.name == "worker_adapter_config" else address
        for field in dataclasses.fields(options)
        if field.default is field.default_factory is dataclasses.MISSING
    }

    assert options == type(options)(**required)


def test_values_arrive_in_the_options_of_the_command():
    options = ClusterConfig(
        scheduler_address=ZMQConfig.from_string("tcp://[::1]:8516"),
        object_storage_address=ObjectStorageAddressConfig("localhost", 8517),
        preload="models:load(3)",
        worker_names=WorkerNames(["alice", "bob"]),
        num_of_workers=2,
        event_loop="builtin",
        worker_io_threads=3,
        worker_config=WorkerConfig(per_worker_capabilities=WorkerCapabilities({"gpu": 1})),
        logging_config=LoggingConfig(level="DEBUG"),
    ).to_options()

    assert options.scheduler_address == Address("tcp", "::1", 8516)
    assert options.object_storage_address == Address("tcp", "localhost", 8517)
    assert options.preload == "models:load(3)"
    assert list(options.worker_names) == ["alice", "bob"]
    assert options.process_config.worker_io_threads == 3
    assert options.worker_config.per_worker_capabilities == {"gpu": 1}
    assert options.logging_config.level == "DEBUG"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClusterConfig(ADDRESS, num_of_workers=-1),
        lambda: ClusterConfig(ADDRESS, num_of_workers=3, worker_names=WorkerNames(["a", "b"])),
        lambda: ClusterConfig(ZMQConfig.from_string("inproc://here")),
        lambda: SchedulerConfig(ADDRESS, client_timeout_seconds=0),
        lambda: SchedulerConfig(ADDRESS, event_loop="other"),
        lambda: SchedulerConfig(ADDRESS, policy=PolicyConfig(policy_content="scaling=bogus")),
        lambda: WorkerAdapterConfig(ADDRESS, max_workers=-2),
        lambda: FixedNativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS, max_workers=-1)),
        lambda: WorkerNames(["a|b"]),
        lambda: WorkerCapabilities({"gpu": -2}),
        lambda: ZMQConfig(ZMQType.tcp, "localhost"),
        lambda: ZMQConfig(ZMQType.ipc, "/tmp/socket", 1),
        lambda: ZMQConfig(ZMQType.tcp, "not a host", 1),
        lambda: ZMQConfig.from_string("localhost:8516"),
        lambda: ZMQConfig.from_string("inproc://"),
        lambda: ObjectStorageAddressConfig("localhost", 70000),
        lambda: ObjectStorageAddressConfig.from_string("ipc:///tmp/socket"),
    ],
)
def test_bad_values_are_value_errors(make):
    with pytest.raises(ValueError, match=r"\w"):
        make()


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("tcp://127.0.0.1:8516", ADDRESS),
        ("tcp://[::1]:8516", ZMQConfig(ZMQType.tcp, "::1", 8516)),
        ("ipc:///tmp/socket", ZMQConfig(ZMQType.ipc, "/tmp/socket")),
        ("inproc://name", ZMQConfig(ZMQType.inproc, "name")),
    ],
)
def test_an_address_reads_and_writes_itself(text, config):
    assert ZMQConfig.from_string(text) == config
    assert str(config) == config.to_address() == text


def test_an_object_storage_address_reads_and_writes_itself():
    address = ObjectStorageAddressConfig.from_string("tcp://[::1]:8517")

    assert (address.host, address.port, address.identity) == ("::1", 8517, "ObjectStorageServer")
    assert str(address) == address.to_string() == "tcp://[::1]:8517"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (WorkerNames, "alice,bob", WorkerNames(("alice", "bob"))),
        (WorkerCapabilities, "gpu=2,linux", WorkerCapabilities({"gpu": 2, "linux": -1})),
        (ZMQConfig, "tcp://host.example:1", ZMQConfig(ZMQType.tcp, "host.example", 1)),
        (ObjectStorageAddressConfig, "tcp://host.example:1", ObjectStorageAddressConfig("host.example", 1)),
    ],
)
def test_types_read_and_write_themselves(kind, text, value):
    read = kind.from_string(text)

    assert {field.name: getattr(read, field.name) for field in dataclasses.fields(kind)} == {
        field.name: getattr(value, field.name) for field in dataclasses.fields(kind)
    }
    assert str(read) == text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_can_be_bound(host):
    port = get_available_tcp_port(hostname=host)
    assert type(port) is int
    with socket.socket() as listener:
        listener.bind((host, port))


def test_a_scoped_logger_tells_beginning_completion_and_time(caplog):
    with caplog.at_level(logging.DEBUG), ScopedLogger("the work", logging.DEBUG):
        assert caplog.messages == ["beginning the work"]

    assert caplog.messages[1].startswith("completed the work after 0.0")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_setup_logger_has_the_promised_parameters():
    assert str(inspect.signature(setup_logger)).startswith(
        "(log_paths: collections.abc.Sequence[str] = ('/dev/stdout',), "
        "logging_config_file: str | None = None, logging_level: str = 'INFO')"
    )


def test_a_processor_is_known_inside_a_task_only(monkeypatch):
    assert Processor.get_current_processor() is None

    monkeypatch.setattr(context, "current", context.TaskContext("tcp://127.0.0.1:8516", 3, b"task"))
    processor = Processor.get_current_processor()

    assert processor.scheduler_address() == ADDRESS
    assert (processor.current_task().task_id, processor.current_task().priority) == (b"task", 3)


def test_a_scheduler_process_takes_what_the_reference_takes():
    process = SchedulerProcess(
        address=ADDRESS,
        object_storage_address=None,
        monitor_address=None,
        io_threads=2,
        max_number_of_tasks_waiting=7,
        client_timeout_seconds=60,
        worker_timeout_seconds=60,
        object_retention_seconds=60,
        load_balance_seconds=1,
        load_balance_trigger_times=2,
        protected=True,
        policy=PolicyConfig(),
        event_loop="builtin",
        logging_paths=("/dev/stdout",),
        logging_config_file=None,
        logging_level="WARNING",
    )

    assert not process.is_alive()
    assert process.pid is process.exitcode is None


def test_a_scheduler_takes_a_configuration():
    assert Scheduler(SchedulerConfig(ADDRESS)).config == SchedulerConfig(ADDRESS).to_options()


def test_an_object_storage_process_takes_what_the_reference_takes():
    process = ObjectStorageServerProcess(
        object_storage_address=ObjectStorageAddressConfig("127.0.0.1", 0),
        logging_paths=("/dev/stdout",),
        logging_level="INFO",
        logging_config_file=None,
    )

    assert not process.is_alive()
    with pytest.raises(RuntimeError, match="the object storage was not started"):
        process.wait_until_ready()
