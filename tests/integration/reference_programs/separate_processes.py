"""Object storage, scheduler, cluster and an adapter as objects of their own, each with its configuration."""

# ruff: noqa: T201 - what a program prints is its result

import multiprocessing

from scaler.client.client import Client
from scaler.client.serializer.default import DefaultSerializer
from scaler.cluster.cluster import Cluster
from scaler.cluster.object_storage_server import ObjectStorageServerProcess
from scaler.cluster.scheduler import SchedulerProcess
from scaler.config import defaults
from scaler.config.common.logging import LoggingConfig
from scaler.config.common.worker import WorkerConfig
from scaler.config.common.worker_adapter import WorkerAdapterConfig
from scaler.config.section.cluster import ClusterConfig
from scaler.config.section.native_worker_adapter import NativeWorkerAdapterConfig
from scaler.config.section.scheduler import PolicyConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.worker import WorkerCapabilities, WorkerNames
from scaler.config.types.zmq import ZMQConfig, ZMQType
from scaler.utility.exceptions import ClientShutdownException
from scaler.utility.network_util import get_available_tcp_port
from scaler.worker_adapter.native import NativeWorkerAdapter


def square(value):
    return value * value


def run_adapter(address):
    adapter = NativeWorkerAdapter(
        NativeWorkerAdapterConfig(
            worker_adapter_config=WorkerAdapterConfig(
                scheduler_address=address, object_storage_address=None, max_workers=1
            ),
            worker_config=WorkerConfig(per_worker_capabilities=WorkerCapabilities.from_string("scaled")),
            logging_config=LoggingConfig(paths=("/dev/stdout",), level="WARNING"),
        )
    )
    adapter.run()


def main():
    storage_address = ObjectStorageAddressConfig("127.0.0.1", get_available_tcp_port())
    storage = ObjectStorageServerProcess(
        object_storage_address=storage_address,
        logging_paths=defaults.DEFAULT_LOGGING_PATHS,
        logging_level=defaults.DEFAULT_LOGGING_LEVEL,
        logging_config_file=None,
    )
    storage.start()
    storage.wait_until_ready()

    address = ZMQConfig(ZMQType.tcp, host="127.0.0.1", port=get_available_tcp_port())
    scheduler = SchedulerProcess(
        address=address,
        object_storage_address=storage_address,
        monitor_address=ZMQConfig(ZMQType.tcp, "127.0.0.1", get_available_tcp_port()),
        io_threads=defaults.DEFAULT_IO_THREADS,
        max_number_of_tasks_waiting=defaults.DEFAULT_MAX_NUMBER_OF_TASKS_WAITING,
        client_timeout_seconds=defaults.DEFAULT_CLIENT_TIMEOUT_SECONDS,
        worker_timeout_seconds=defaults.DEFAULT_WORKER_TIMEOUT_SECONDS,
        object_retention_seconds=defaults.DEFAULT_OBJECT_RETENTION_SECONDS,
        load_balance_seconds=defaults.DEFAULT_LOAD_BALANCE_SECONDS,
        load_balance_trigger_times=defaults.DEFAULT_LOAD_BALANCE_TRIGGER_TIMES,
        protected=False,
        policy=PolicyConfig(policy_content="allocate=capability; scaling=capability"),
        event_loop="builtin",
        logging_paths=("/dev/stdout",),
        logging_config_file=None,
        logging_level="INFO",
    )
    scheduler.start()
    cluster = Cluster(
        ClusterConfig(
            scheduler_address=ZMQConfig.from_string(address.to_address()),
            object_storage_address=None,
            preload=None,
            worker_names=WorkerNames(["first", "second"]),
            num_of_workers=2,
            event_loop="builtin",
            worker_io_threads=defaults.DEFAULT_IO_THREADS,
            worker_config=WorkerConfig(
                per_worker_capabilities=WorkerCapabilities({"fixed": -1}),
                per_worker_task_queue_size=defaults.DEFAULT_PER_WORKER_QUEUE_SIZE,
                heartbeat_interval_seconds=defaults.DEFAULT_HEARTBEAT_INTERVAL_SECONDS,
                task_timeout_seconds=defaults.DEFAULT_TASK_TIMEOUT_SECONDS,
                death_timeout_seconds=defaults.DEFAULT_WORKER_DEATH_TIMEOUT,
                garbage_collect_interval_seconds=defaults.DEFAULT_GARBAGE_COLLECT_INTERVAL_SECONDS,
                trim_memory_threshold_bytes=defaults.DEFAULT_TRIM_MEMORY_THRESHOLD_BYTES,
                hard_processor_suspend=defaults.DEFAULT_HARD_PROCESSOR_SUSPEND,
            ),
            logging_config=LoggingConfig(("/dev/stdout",), None, "INFO"),
        )
    )
    cluster.start()
    adapter = multiprocessing.Process(target=run_adapter, args=(address,))
    adapter.start()

    with Client(
        address=address.to_address(), timeout_seconds=60, heartbeat_interval_seconds=2, serializer=DefaultSerializer()
    ) as client:
        print("RESULT", client.map(square, range(5)))
        print("RESULT", client.submit_verbose(square, (7,), {}, {"fixed": -1}).result())
        print("RESULT", client.submit_verbose(square, (8,), {}, capabilities={"scaled": -1}).result())
        print("RESULT", len(client.submit(bytes, 1_000_000).result()))
        pending = client.submit_verbose(square, (1,), {}, {"nobody": -1})
        Client(address=address.to_address()).shutdown()
        try:
            pending.result()
        except ClientShutdownException:
            print("RESULT shut down")
    for process in (cluster, scheduler, adapter):
        process.join(60)
        print("RESULT", process.is_alive(), process.exitcode)
    storage.terminate()
    storage.join()
    print("RESULT", storage.exitcode)


if __name__ == "__main__":
    main()
