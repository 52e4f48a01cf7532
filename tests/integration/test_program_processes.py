"""Scheduler and object storage as process objects, as programs written for the reference start them."""

import pytest

from scaler.cluster.object_storage_server import ObjectStorageServerProcess
from scaler.cluster.scheduler import SchedulerProcess
from scaler.config.section.scheduler import PolicyConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig, ZMQType
from scaler.utility.network_util import get_available_tcp_port
from scaler_client.client import Client
from scaler_cluster.launcher import StartError
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
