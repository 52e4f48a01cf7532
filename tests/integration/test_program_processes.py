"""Scheduler and object storage as process objects, as programs written for the reference start them."""

import sys

import pytest

from scaler.cluster.object_storage_server import ObjectStorageServerProcess
from scaler.cluster.scheduler import SchedulerProcess
from scaler.config.section.scheduler import PolicyConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig, ZMQType
from scaler.utility.network_util import get_available_tcp_port
from scaler_client.client import Client
from scaler_cluster.launcher import StartError
from tests.integration.commands import Command
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration


def storage_process(port):
    return ObjectStorageServerProcess(ObjectStorageAddressConfig("127.0.0.1", port), ("/dev/stdout",), "WARNING", None)


def test_an_object_storage_is_ready_and_ends():
    with nothing_left() as note, storage_process(get_available_tcp_port()) as process:
        process.wait_until_ready()
        process.wait_until_ready()
        assert process.pid in {started.pid for started in note()}

    assert process.exitcode == 0


def test_an_object_storage_that_cannot_listen_says_why():
    port = get_available_tcp_port()
    with nothing_left(), storage_process(port) as first:
        first.wait_until_ready()
        with storage_process(port) as second, pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            second.wait_until_ready()


def test_a_scheduler_process_accepts_clients(tmp_path):
    address = ZMQConfig(ZMQType.ipc, f"{tmp_path}/scheduler")
    process = SchedulerProcess(
        address=address,
        object_storage_address=None,
        monitor_address=None,
        io_threads=1,
        max_number_of_tasks_waiting=-1,
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
    with nothing_left() as note, process:
        with Client(str(address)) as client:
            assert client.map(len, []) == []
        note()

    assert process.exitcode == 0


PROGRAM = """
from scaler.cluster.cluster import Cluster
from scaler.cluster.scheduler import Scheduler
from scaler.config.section.cluster import ClusterConfig
from scaler.config.section.scheduler import SchedulerConfig
from scaler.config.types.zmq import ZMQConfig
from scaler.worker_adapter.native import NativeWorkerAdapter
address = ZMQConfig.from_string({address!r})
print("ended with", {program}.run())
"""


def running_in(program, address):
    return Command("-c", PROGRAM.format(program=program, address=address), program=(sys.executable,))


def test_scheduler_and_cluster_run_in_programs_themselves(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    scheduler = running_in("Scheduler(SchedulerConfig(address))", address)
    cluster = running_in("Cluster(ClusterConfig(address, num_of_workers=1))", address)
    try:
        with Client(address) as client:
            assert client.submit(abs, -1).result() == 1
    finally:
        assert cluster.stop() == 0
        assert scheduler.stop() == 0
    for command in (cluster, scheduler):
        assert command.lines[-1] == "ended with 0"
