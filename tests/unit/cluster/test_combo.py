"""The combo starts a scheduler, then workers for it, and ends them in the other order."""

import gc
import inspect
import signal

import pytest

from scaler_cluster import combo
from scaler_cluster.combo import SchedulerClusterCombo
from scaler_cluster.launcher import StartError
from scaler_protocol.addresses import Address
from scaler_scheduler.config import PolicyConfig

DEFAULTS = {
    "address": None,
    "object_storage_address": None,
    "monitor_address": None,
    "per_worker_capabilities": None,
    "worker_io_threads": 1,
    "scheduler_io_threads": 1,
    "max_number_of_tasks_waiting": -1,
    "heartbeat_interval_seconds": 2,
    "client_timeout_seconds": 60,
    "worker_timeout_seconds": 60,
    "object_retention_seconds": 60,
    "task_timeout_seconds": 0,
    "death_timeout_seconds": 300,
    "load_balance_seconds": 1,
    "load_balance_trigger_times": 2,
    "garbage_collect_interval_seconds": 30,
    "trim_memory_threshold_bytes": 1073741824,
    "per_worker_task_queue_size": 1000,
    "hard_processor_suspend": False,
    "protected": True,
    "scaler_policy": PolicyConfig(),
    "event_loop": "builtin",
    "logging_paths": ("/dev/stdout",),
    "logging_level": "INFO",
    "logging_config_file": None,
    "preload": None,
}


def configurations(zygote):
    """Return what the scheduler and the cluster were started with."""
    return [arguments[0] for _, _, arguments in zygote.started]


def test_has_the_promised_parameters_in_order():
    parameters = inspect.signature(SchedulerClusterCombo).parameters

    assert list(parameters) == ["n_workers", *DEFAULTS]
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS


def test_starts_a_scheduler_and_then_workers_for_its_address(zygotes):
    with SchedulerClusterCombo(2) as started:
        assert started.get_address() == "tcp://127.0.0.1:5555"

    assert [(key, target) for key, target, _ in zygotes.last.started] == [
        ("scheduler", "scaler_scheduler.server:run_child_for_good"),
        ("cluster", "scaler_cluster.server:run_child"),
    ]
    scheduler, cluster = configurations(zygotes.last)
    assert scheduler.scheduler_address == Address("tcp", "127.0.0.1", 0)
    assert scheduler.protected
    assert cluster.scheduler_address == Address("tcp", "127.0.0.1", 5555)
    assert cluster.num_of_workers == 2


def test_every_keyword_arrives(zygotes):
    with SchedulerClusterCombo(
        n_workers=3,
        address="tcp://127.0.0.1:5555",
        object_storage_address="tcp://127.0.0.1:5556",
        monitor_address="tcp://127.0.0.1:5557",
        per_worker_capabilities={"gpu": 1},
        worker_io_threads=2,
        scheduler_io_threads=3,
        max_number_of_tasks_waiting=4,
        heartbeat_interval_seconds=5,
        client_timeout_seconds=6,
        worker_timeout_seconds=7,
        object_retention_seconds=8,
        task_timeout_seconds=9,
        death_timeout_seconds=10,
        load_balance_seconds=11,
        load_balance_trigger_times=12,
        garbage_collect_interval_seconds=13,
        trim_memory_threshold_bytes=14,
        per_worker_task_queue_size=15,
        hard_processor_suspend=True,
        protected=False,
        scaler_policy=PolicyConfig(policy_content="allocate=capability; scaling=no"),
        event_loop="builtin",
        logging_paths=("-",),
        logging_level="DEBUG",
        logging_config_file="log.ini",
        preload="models:load",
    ):
        pass

    scheduler, cluster = configurations(zygotes.last)
    assert str(scheduler.scheduler_address) == "tcp://127.0.0.1:5555"
    assert str(scheduler.monitor_address) == "tcp://127.0.0.1:5557"
    assert scheduler.process_config.worker_io_threads == 3
    assert scheduler.max_number_of_tasks_waiting == 4
    assert (scheduler.client_timeout_seconds, scheduler.worker_timeout_seconds) == (6, 7)
    assert scheduler.object_retention_seconds == 8
    assert (scheduler.load_balance_seconds, scheduler.load_balance_trigger_times) == (11, 12)
    assert not scheduler.protected
    assert scheduler.policy.policy_content == "allocate=capability; scaling=no"
    workers = cluster.worker_config
    assert cluster.num_of_workers == 3
    assert cluster.preload == "models:load"
    assert cluster.process_config.worker_io_threads == 2
    assert workers.per_worker_capabilities == {"gpu": 1}
    assert (workers.heartbeat_interval_seconds, workers.task_timeout_seconds) == (5, 9)
    assert (workers.death_timeout_seconds, workers.garbage_collect_interval_seconds) == (10, 13)
    assert (workers.trim_memory_threshold_bytes, workers.per_worker_task_queue_size) == (14, 15)
    assert workers.hard_processor_suspend
    for config in (scheduler, cluster):
        assert str(config.object_storage_address) == "tcp://127.0.0.1:5556"
        assert config.logging_config.paths == ("-",)
        assert (config.logging_config.level, config.logging_config.config_file) == ("DEBUG", "log.ini")


@pytest.mark.parametrize(
    ("listening", "reachable"),
    [
        ("tcp://0.0.0.0:5555", "tcp://127.0.0.1:5555"),
        ("tcp://[::]:5555", "tcp://[::1]:5555"),
        ("ipc:///tmp/socket", "ipc:///tmp/socket"),
    ],
)
def test_the_address_can_be_connected_to(zygotes, listening, reachable):
    zygotes.says["scheduler"] = ("listening", listening)
    with SchedulerClusterCombo(1) as started:
        assert started.get_address() == reachable


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"n_workers": -1}, "num_of_workers must be"),
        ({"n_workers": "two"}, "num_of_workers must be"),
        ({"address": "localhost:8516"}, "tcp://host:port"),
        ({"client_timeout_seconds": 0}, "client_timeout_seconds must be"),
        ({"task_timeout_seconds": -1}, "task_timeout_seconds must be"),
        ({"worker_io_threads": 0}, "worker_io_threads must be"),
        ({"scheduler_io_threads": 0}, "worker_io_threads must be"),
        ({"per_worker_capabilities": {"": 1}}, "is not valid"),
        ({"logging_level": "LOUD"}, "logging_level must be one of"),
        ({"preload": "nothing"}, "preload must be"),
    ],
)
def test_bad_values_are_value_errors_and_leave_nothing(zygotes, keywords, said):
    with pytest.raises(ValueError, match=said):
        SchedulerClusterCombo(**{"n_workers": 1, **keywords})

    assert zygotes.last.started == []
    assert zygotes.last.closed_with == 0.0


def test_a_scheduler_that_cannot_start_is_an_error_with_its_line(zygotes):
    zygotes.says["scheduler"] = ("failed", "cannot listen on tcp://127.0.0.1:1: Permission denied")
    with pytest.raises(StartError, match=r"cannot listen on tcp://127.0.0.1:1: Permission denied"):
        SchedulerClusterCombo(1)

    assert zygotes.last.closed_with == 0.0


def test_a_scheduler_that_dies_is_an_error(zygotes):
    zygotes.says.clear()
    zygotes.dies = ("scheduler",)
    with pytest.raises(StartError, match="the scheduler ended before it was ready: exit code 1"):
        SchedulerClusterCombo(1)


def test_shutdown_ends_the_workers_first_and_once(zygotes):
    started = SchedulerClusterCombo(1)
    started.shutdown()
    started.shutdown()

    assert zygotes.last.signals == [("cluster", signal.SIGTERM), ("scheduler", signal.SIGTERM)]
    assert zygotes.last.closed_with == 0.0


def test_garbage_collection_shuts_down(zygotes):
    started = SchedulerClusterCombo(1)
    del started
    gc.collect()

    assert zygotes.last.closed_with == 0.0


def test_a_forked_child_shuts_nothing_down(zygotes, monkeypatch):
    started = SchedulerClusterCombo(1)
    monkeypatch.setattr(combo.os, "getpid", lambda: -1)
    started.shutdown()

    assert zygotes.last.signals == []
    assert zygotes.last.closed_with is None
