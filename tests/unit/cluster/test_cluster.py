"""A cluster is configured in two ways and behaves like a process."""

import inspect
import signal

import pytest

from scaler_cluster import process
from scaler_cluster.cluster import Cluster
from scaler_cluster.config import ClusterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.options import usual_number_of_workers

CONFIG = ClusterConfig(Address("tcp", "127.0.0.1", 8516), num_of_workers=2)


class Reference:
    def to_options(self):
        return CONFIG


@pytest.fixture
def cluster(zygotes):
    return Cluster(CONFIG)


def test_takes_a_configuration_of_either_shape():
    assert Cluster(CONFIG).config is CONFIG
    assert Cluster(Reference()).config is CONFIG
    assert Cluster(config=CONFIG).config is CONFIG


def test_takes_address_number_and_options():
    assert Cluster(address="tcp://127.0.0.1:8516", n_workers=2).config == CONFIG
    assert Cluster("tcp://127.0.0.1:8516", 2).config == CONFIG

    config = Cluster(n_workers=1, worker_names=["alice"], task_timeout_seconds=3, preload="models:load").config
    assert config.scheduler_address == Address("tcp", "127.0.0.1", 8516)
    assert list(config.worker_names) == ["alice"]
    assert config.worker_config.task_timeout_seconds == 3
    assert config.preload == "models:load"


OPTIONS = {
    "object_storage_address": "tcp://127.0.0.1:8517",
    "preload": "models:load",
    "worker_names": ["alice"],
    "per_worker_capabilities": {"gpu": 2},
    "per_worker_task_queue_size": 3,
    "heartbeat_interval_seconds": 4,
    "task_timeout_seconds": 5,
    "death_timeout_seconds": 6,
    "garbage_collect_interval_seconds": 7,
    "trim_memory_threshold_bytes": 8,
    "hard_processor_suspend": True,
    "event_loop": "builtin",
    "worker_io_threads": 9,
    "logging_paths": ["-", "log"],
    "logging_config_file": "log.ini",
    "logging_level": "DEBUG",
}


def test_every_option_arrives():
    config = Cluster(n_workers=1, **OPTIONS).config

    workers, process, log = config.worker_config, config.process_config, config.logging_config
    assert (str(config.object_storage_address), config.preload) == ("tcp://127.0.0.1:8517", "models:load")
    assert list(config.worker_names) == ["alice"]
    assert workers.per_worker_capabilities == {"gpu": 2}
    for name in [name for name in OPTIONS if hasattr(workers, name) and name != "per_worker_capabilities"]:
        assert getattr(workers, name) == OPTIONS[name]
    assert (process.event_loop, process.worker_io_threads) == ("builtin", 9)
    assert (log.paths, log.config_file, log.level) == (("-", "log"), "log.ini", "DEBUG")


def test_the_usual_number_of_workers():
    assert Cluster().config.num_of_workers == usual_number_of_workers()


def test_parameters_are_visible():
    assert {"config", "address", "n_workers"} <= set(inspect.signature(Cluster).parameters)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"heartbeat": 1}, "heartbeat_interval_seconds"),
        ({"adress": "tcp://127.0.0.1:1"}, "address"),
        ({"workers": 1}, "n_workers"),
        ({"scheduler_address": "tcp://127.0.0.1:1"}, "address"),
    ],
)
def test_an_unknown_option_is_a_type_error_with_the_nearest(options, nearest):
    with pytest.raises(TypeError, match=f"the nearest is '{nearest}'"):
        Cluster(**options)


@pytest.mark.parametrize("more", [{"n_workers": 1}, {"address": "tcp://127.0.0.1:1"}, {"preload": "a:b"}])
def test_a_configuration_and_options_together_are_refused(more):
    with pytest.raises(TypeError, match="takes a configuration, or"):
        Cluster(CONFIG, **more)


def test_bad_values_are_value_errors():
    with pytest.raises(ValueError, match="num_of_workers must be"):
        Cluster(n_workers=-1)


def test_before_the_start_it_is_no_process(cluster):
    assert not cluster.is_alive()
    assert cluster.pid is cluster.exitcode is None
    cluster.shutdown()
    for method in (cluster.join, cluster.terminate, cluster.kill):
        with pytest.raises(RuntimeError, match="the cluster was not started"):
            method()


def test_the_child_gets_the_configuration(cluster, zygotes):
    cluster.start()

    assert zygotes.last.started == [("cluster", "scaler_cluster.server:run_child", (CONFIG, 41))]
    assert zygotes.last.preload == ["scaler_cluster.server"]
    assert (cluster.pid, cluster.is_alive(), cluster.exitcode) == (100, True, None)
    with pytest.raises(RuntimeError, match="started before"):
        cluster.start()
    cluster.shutdown()


def test_it_is_kept_until_it_has_ended(cluster):
    cluster.start()
    assert cluster in process._running

    cluster.shutdown()
    assert cluster not in process._running


def test_terminate_then_join(cluster, zygotes):
    cluster.start()
    cluster.terminate()
    cluster.join()

    assert zygotes.last.signals == [("cluster", signal.SIGTERM)]
    assert zygotes.last.closed_with == 0.0
    assert (cluster.is_alive(), cluster.exitcode) == (False, 0)


def test_shutdown_does_not_ask_a_second_time(cluster, zygotes):
    cluster.start()
    cluster.terminate()
    cluster.shutdown()

    assert zygotes.last.signals == [("cluster", signal.SIGTERM)]


def test_join_with_a_timeout_returns_while_it_runs(cluster):
    cluster.start()
    cluster.join(0.0)

    assert cluster.is_alive()
    cluster.shutdown()


def test_kill(cluster, zygotes):
    cluster.start()
    cluster.kill()
    cluster.join()

    assert cluster.exitcode == -signal.SIGKILL


def test_shutdown_kills_what_does_not_stop(cluster, zygotes, monkeypatch):
    monkeypatch.setattr(process, "STOP_SECONDS", 0.0)
    zygotes.stubborn = True
    cluster.start()
    cluster.shutdown()
    cluster.shutdown()

    assert zygotes.last.signals == [("cluster", signal.SIGTERM), ("cluster", signal.SIGKILL)]
    assert not cluster.is_alive()


def test_a_with_block_starts_it_and_shuts_it_down(cluster, zygotes):
    with cluster as entered:
        assert entered is cluster
        assert cluster.is_alive()

    assert cluster.exitcode == 0


def test_a_forked_child_does_not_own_it(cluster, zygotes, monkeypatch):
    cluster.start()
    with monkeypatch.context() as child:
        child.setattr(process.os, "getpid", lambda: -1)
        cluster.shutdown()
        with pytest.raises(RuntimeError, match="belongs to the process that started it"):
            cluster.terminate()

    assert zygotes.last.signals == []
    cluster.shutdown()
