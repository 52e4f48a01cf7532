"""Python keywords become options, or an error that names the keyword."""

import pytest

from scaler_cluster.config import ClusterConfig
from scaler_cluster.keywords import configure
from scaler_protocol.addresses import Address

ADDRESS = {"scheduler_address": "tcp://127.0.0.1:8516"}


def test_plain_values_become_the_types_of_options():
    config = configure(
        ClusterConfig,
        {
            **ADDRESS,
            "object_storage_address": None,
            "num_of_workers": 2,
            "worker_names": ["alice", "bob"],
            "per_worker_capabilities": {"gpu": 2, "linux": -1},
            "logging_paths": ["-", "/tmp/log"],
            "hard_processor_suspend": True,
        },
    )

    assert config.scheduler_address == Address("tcp", "127.0.0.1", 8516)
    assert config.object_storage_address is None
    assert list(config.worker_names) == ["alice", "bob"]
    assert config.worker_config.per_worker_capabilities == {"gpu": 2, "linux": -1}
    assert config.worker_config.hard_processor_suspend
    assert config.logging_config.paths == ("-", "/tmp/log")


def test_lists_may_be_written_as_on_the_command_line():
    config = configure(
        ClusterConfig,
        {
            **ADDRESS,
            "num_of_workers": 2,
            "worker_names": "alice,bob",
            "per_worker_capabilities": "gpu=2,linux",
            "logging_paths": "-",
        },
    )

    assert list(config.worker_names) == ["alice", "bob"]
    assert config.worker_config.per_worker_capabilities == {"gpu": 2, "linux": -1}
    assert config.logging_config.paths == ("-",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_of_workers": -1}, "num_of_workers must be"),
        ({"num_of_workers": "two"}, "num_of_workers must be"),
        ({"num_of_workers": True}, "num_of_workers must be"),
        ({"num_of_workers": 3, "worker_names": ["a", "b"]}, "2 names.* is 3"),
        ({"worker_names": [1]}, "worker_names must be"),
        ({"worker_names": ["a|b"], "num_of_workers": 1}, "the name 'a|b' is not valid"),
        ({"per_worker_capabilities": {"gpu": -2}}, "'gpu=-2'"),
        ({"per_worker_capabilities": "gpu=two"}, "'gpu=two'"),
        ({"per_worker_capabilities": 3}, "per_worker_capabilities must be"),
        ({"logging_level": "LOUD"}, "logging_level must be one of"),
        ({"event_loop": "other"}, "event_loop must be one of"),
        ({"preload": "nothing"}, "preload must be"),
        ({"scheduler_address": "localhost:8516"}, "scheduler_address: .*tcp://host:port"),
        ({"scheduler_address": "tcp://localhost:0"}, "a port from 1 on"),
        ({"object_storage_address": 8517}, "object_storage_address must be"),
    ],
)
def test_bad_values_are_named(values, said):
    with pytest.raises(ValueError, match=said):
        configure(ClusterConfig, {**ADDRESS, **values})


def test_an_unknown_name_is_a_type_error_with_the_nearest():
    with pytest.raises(TypeError, match="no option 'heartbeat_seconds'; the nearest is 'heartbeat_interval_seconds'"):
        configure(ClusterConfig, {**ADDRESS, "heartbeat_seconds": 1})


def test_an_option_with_another_name_in_python_has_only_that():
    names = {"num_of_workers": "n_workers"}

    assert configure(ClusterConfig, {**ADDRESS, "n_workers": 3}, names).num_of_workers == 3
    with pytest.raises(TypeError, match="no option 'num_of_workers'; the nearest is 'n_workers'"):
        configure(ClusterConfig, {**ADDRESS, "num_of_workers": 3}, names)
