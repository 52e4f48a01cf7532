"""Names, order and defaults of parameters, as programs written for the reference pass them."""

import dataclasses
import inspect
import logging
import os
from importlib import import_module

import pytest

from scaler.client.serializer.default import DefaultSerializer
from scaler.config.section.scheduler import PolicyConfig

NEEDED = inspect.Parameter.empty
WORKERS = max(1, (os.cpu_count() or 1) - 1)

CALLS = {
    "scaler.client.client:Client": {
        "address": None,
        "profiling": False,
        "timeout_seconds": 60,
        "heartbeat_interval_seconds": 2,
        "serializer": DefaultSerializer,
        "stream_output": False,
        "object_storage_address": None,
    },
    "scaler.client.client:Client.submit": {"self": NEEDED, "fn": NEEDED, "*args": NEEDED, "**kwargs": NEEDED},
    "scaler.client.client:Client.submit_verbose": {
        "self": NEEDED,
        "fn": NEEDED,
        "args": NEEDED,
        "kwargs": None,
        "capabilities": None,
    },
    "scaler.client.client:Client.map": {"self": NEEDED, "fn": NEEDED, "*iterables": NEEDED, "capabilities=": None},
    "scaler.client.client:Client.starmap": {"self": NEEDED, "fn": NEEDED, "iterable": NEEDED, "capabilities": None},
    "scaler.client.client:Client.get": {
        "self": NEEDED,
        "graph": NEEDED,
        "keys": NEEDED,
        "block": True,
        "capabilities": None,
    },
    "scaler.client.client:Client.send_object": {"self": NEEDED, "obj": NEEDED, "name": None},
    "scaler.client.client:Client.clear": {"self": NEEDED},
    "scaler.client.client:Client.disconnect": {"self": NEEDED},
    "scaler.client.client:Client.shutdown": {"self": NEEDED},
    "scaler.client.future:ScalerFuture.result": {"self": NEEDED, "timeout": None},
    "scaler.client.future:ScalerFuture.exception": {"self": NEEDED, "timeout": None},
    "scaler.client.future:ScalerFuture.cancel": {"self": NEEDED, "timeout": None},
    "scaler.client.future:ScalerFuture.add_done_callback": {"self": NEEDED, "fn": NEEDED},
    "scaler.client.future:ScalerFuture.profiling_info": {"self": NEEDED},
    "scaler.client.serializer.mixins:Serializer.serialize": {"obj": NEEDED},
    "scaler.client.serializer.mixins:Serializer.deserialize": {"payload": NEEDED},
    "scaler.client.serializer.default:DefaultSerializer.serialize": {"obj": NEEDED},
    "scaler.client.serializer.default:DefaultSerializer.deserialize": {"payload": NEEDED},
    "scaler.cluster.cluster:Cluster.join": {"self": NEEDED, "timeout": None},
    "scaler.cluster.cluster:Cluster.start": {"self": NEEDED},
    "scaler.cluster.cluster:Cluster.run": {"self": NEEDED},
    "scaler.cluster.cluster:Cluster.terminate": {"self": NEEDED},
    "scaler.cluster.cluster:Cluster.kill": {"self": NEEDED},
    "scaler.cluster.cluster:Cluster.is_alive": {"self": NEEDED},
    "scaler.cluster.cluster:Cluster.shutdown": {"self": NEEDED},
    "scaler.cluster.combo:SchedulerClusterCombo.get_address": {"self": NEEDED},
    "scaler.cluster.combo:SchedulerClusterCombo.shutdown": {"self": NEEDED},
    "scaler.cluster.scheduler:Scheduler": {"config": NEEDED},
    "scaler.cluster.scheduler:SchedulerProcess": dict.fromkeys(
        [
            "address",
            "object_storage_address",
            "monitor_address",
            "io_threads",
            "max_number_of_tasks_waiting",
            "client_timeout_seconds",
            "worker_timeout_seconds",
            "object_retention_seconds",
            "load_balance_seconds",
            "load_balance_trigger_times",
            "protected",
            "policy",
            "event_loop",
            "logging_paths",
            "logging_config_file",
            "logging_level",
        ],
        NEEDED,
    ),
    "scaler.cluster.object_storage_server:ObjectStorageServerProcess": dict.fromkeys(
        ["object_storage_address", "logging_paths", "logging_level", "logging_config_file"], NEEDED
    ),
    "scaler.cluster.object_storage_server:ObjectStorageServerProcess.wait_until_ready": {"self": NEEDED},
    "scaler.config.types.zmq:ZMQConfig": {"type": NEEDED, "host": NEEDED, "port": None},
    "scaler.config.types.zmq:ZMQConfig.to_address": {"self": NEEDED},
    "scaler.config.types.object_storage_server:ObjectStorageAddressConfig": {
        "host": NEEDED,
        "port": NEEDED,
        "identity": "ObjectStorageServer",
    },
    "scaler.config.types.object_storage_server:ObjectStorageAddressConfig.to_string": {"self": NEEDED},
    "scaler.utility.network_util:get_available_tcp_port": {"hostname": "127.0.0.1"},
    "scaler.utility.logging.utility:setup_logger": {
        "log_paths": ("/dev/stdout",),
        "logging_config_file": None,
        "logging_level": "INFO",
    },
    "scaler.utility.logging.scoped_logger:ScopedLogger": {"message": NEEDED, "logging_level": logging.INFO},
    "scaler.utility.graph.optimization:cull_graph": {"graph": NEEDED, "keys": NEEDED},
    "scaler.worker.preload:execute_preload": {"spec": NEEDED},
    "scaler.worker.agent.processor.processor:Processor.get_current_processor": {},
    "scaler.worker.agent.processor.processor:Processor.scheduler_address": {"self": NEEDED},
    "scaler.worker.agent.processor.processor:Processor.current_task": {"self": NEEDED},
    "scaler.worker_adapter.native:NativeWorkerAdapter": {"config": NEEDED},
    "scaler.worker_adapter.native:NativeWorkerAdapter.run": {"self": NEEDED},
}
"""`*` and `**` as in a definition; a name with `=` is keyword-only."""

LOGGING = {"paths": ("/dev/stdout",), "config_file": None, "level": "INFO"}
WORKER = {
    "per_worker_capabilities": {},
    "per_worker_task_queue_size": 1000,
    "heartbeat_interval_seconds": 2,
    "task_timeout_seconds": 0,
    "death_timeout_seconds": 300,
    "garbage_collect_interval_seconds": 30,
    "trim_memory_threshold_bytes": 1073741824,
    "hard_processor_suspend": False,
}
ADAPTER = {
    "worker_adapter_config": NEEDED,
    "preload": None,
    "worker_config": WORKER,
    "logging_config": LOGGING,
    "event_loop": "builtin",
    "worker_io_threads": 1,
}
POLICY = {"policy_engine_type": "simple", "policy_content": "allocate=even_load; scaling=no"}
CONFIGURATIONS = {
    "scaler.config.common.logging:LoggingConfig": LOGGING,
    "scaler.config.common.worker:WorkerConfig": WORKER,
    "scaler.config.common.worker_adapter:WorkerAdapterConfig": {
        "scheduler_address": NEEDED,
        "object_storage_address": None,
        "max_workers": WORKERS,
    },
    "scaler.config.section.cluster:ClusterConfig": {
        "scheduler_address": NEEDED,
        "object_storage_address": None,
        "preload": None,
        "worker_names": [],
        "num_of_workers": WORKERS,
        "event_loop": "builtin",
        "worker_io_threads": 1,
        "worker_config": WORKER,
        "logging_config": LOGGING,
    },
    "scaler.config.section.scheduler:PolicyConfig": POLICY,
    "scaler.config.section.scheduler:SchedulerConfig": {
        "scheduler_address": NEEDED,
        "object_storage_address": None,
        "monitor_address": None,
        "protected": False,
        "max_number_of_tasks_waiting": -1,
        "client_timeout_seconds": 60,
        "worker_timeout_seconds": 60,
        "object_retention_seconds": 60,
        "load_balance_seconds": 1,
        "load_balance_trigger_times": 2,
        "event_loop": "builtin",
        "worker_io_threads": 1,
        "logging_config": LOGGING,
        "policy": POLICY,
        "task_retry_limit": 3,
    },
    "scaler.config.section.native_worker_adapter:NativeWorkerAdapterConfig": ADAPTER,
    "scaler.config.section.fixed_native_worker_adapter:FixedNativeWorkerAdapterConfig": ADAPTER | {"restart": False},
}


def named(place):
    module, _, names = place.partition(":")
    found = import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def spelled(parameter):
    match parameter.kind:
        case parameter.VAR_POSITIONAL:
            return f"*{parameter.name}"
        case parameter.VAR_KEYWORD:
            return f"**{parameter.name}"
        case parameter.KEYWORD_ONLY:
            return f"{parameter.name}="
    return parameter.name


def plain(value):
    """Return a default as plain values."""
    if dataclasses.is_dataclass(value) and "from_string" not in dir(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if dataclasses.is_dataclass(value):
        return dict(value) if hasattr(value, "keys") else list(value)
    return type(value) if isinstance(value, DefaultSerializer) else value


@pytest.mark.parametrize("place", CALLS)
def test_a_call_has_the_promised_parameters(place):
    parameters = inspect.signature(named(place)).parameters.values()

    assert {spelled(parameter): plain(parameter.default) for parameter in parameters} == CALLS[place]
    assert [spelled(parameter) for parameter in parameters] == list(CALLS[place])


@pytest.mark.parametrize("place", CONFIGURATIONS)
def test_a_configuration_has_the_promised_parameters(place):
    kind, expected = named(place), CONFIGURATIONS[place]
    assert dataclasses.is_dataclass(kind)
    defaults = {
        field.name: field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
    }

    assert list(inspect.signature(kind).parameters) == list(expected)
    assert {
        name: NEEDED if default is dataclasses.MISSING else plain(default) for name, default in defaults.items()
    } == expected


def test_the_cluster_has_the_members_of_a_process():
    for place in ("cluster:Cluster", "scheduler:SchedulerProcess", "object_storage_server:ObjectStorageServerProcess"):
        kind = named(f"scaler.cluster.{place}")
        for name in ("start", "run", "join", "terminate", "kill", "is_alive", "shutdown", "__enter__", "__exit__"):
            assert callable(getattr(kind, name))
        assert isinstance(inspect.getattr_static(kind, "pid"), property)
        assert isinstance(inspect.getattr_static(kind, "exitcode"), property)
    parameters = inspect.signature(named("scaler.cluster.cluster:Cluster")).parameters
    assert parameters["address"].default == "tcp://127.0.0.1:8516"
    assert parameters["n_workers"].default is None


def test_what_is_found_twice_is_the_same():
    import scaler

    for name, place in {
        "Client": "scaler.client.client",
        "ScalerFuture": "scaler.client.future",
        "Serializer": "scaler.client.serializer.mixins",
        "Cluster": "scaler.cluster.cluster",
        "SchedulerClusterCombo": "scaler.cluster.combo",
        "Scheduler": "scaler.cluster.scheduler",
    }.items():
        assert getattr(scaler, name) is named(f"{place}:{name}")
    assert named("scaler.client.client:ScalerFuture") is scaler.ScalerFuture
    assert named("scaler.config.defaults:DEFAULT_NUMBER_OF_WORKER") == WORKERS
    assert plain(PolicyConfig()) == POLICY
