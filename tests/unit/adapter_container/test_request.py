"""What the engine is asked for a group."""

from dataclasses import replace

from scaler_adapter_container.request import Labelled, container_name, read_labels, request_of, tag_of
from scaler_adapter_core.provider import LaunchSpec
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import worker_ids_of
from tests.unit.adapter_container.fake_engine import a_config


def test_the_group_runs_with_its_capabilities_and_name():
    request = request_of(a_config(python="/opt/python"), "tag", LaunchSpec("g", {"gpu": 2}, "alice"))
    assert request.command[:5] == ("/opt/python", "-m", "scaler_worker.group", "tcp://10.0.0.1:8516", "g")
    assert {"--name=alice", "--num-of-workers=1", "--per-worker-capabilities=gpu=2"} <= set(request.command)
    assert request.name == container_name("g") == "scaler-g"
    assert (request.image, request.user) == ("image", None)


def test_labels_tell_what_is_needed_to_know_it_again():
    request = request_of(a_config(workers_per_group=2, labels=("team=a", "scaler.group=x")), "tag", LaunchSpec("g", {}))
    assert request.labels["team"] == "a"
    assert request.labels["scaler.adapter"] == "tag"
    assert read_labels(request.labels) == Labelled("g", worker_ids_of("g", "CON", 2), {})


def test_labels_that_are_not_ours_tell_nothing():
    assert read_labels({"scaler.group": "g"}) is None
    assert (
        read_labels({"scaler.group": "g", "scaler.name": "n", "scaler.workers": "x", "scaler.capabilities": ""}) is None
    )


def test_limits_mounts_and_the_rest():
    config = a_config(
        mounts=("/a:/b",), memory="1g", cpus="2", shm_size="64m", network="n", environment=("A=b=c",), user="me"
    )
    request = request_of(config, "tag", LaunchSpec("g", {}))
    assert request.host == {
        "network_mode": "n",
        "binds": ["/a:/b"],
        "mem_limit": 1 << 30,
        "memswap_limit": 1 << 30,
        "nano_cpus": 2_000_000_000,
        "shm_size": 64 << 20,
    }
    assert (request.environment, request.user) == ({"A": "b=c"}, "me")


def test_without_options_the_engine_decides():
    assert request_of(a_config(), "tag", LaunchSpec("g", {})).host == {"network_mode": "host"}


def test_workers_may_be_told_another_address():
    config = a_config(address_for_workers=Address.from_string("tcp://host.docker.internal:1"))
    assert request_of(config, "tag", LaunchSpec("g", {})).command[3] == "tcp://host.docker.internal:1"


def test_the_tag_is_the_same_after_a_restart_and_another_for_another_scheduler():
    assert tag_of(a_config()) == tag_of(replace(a_config()))
    assert tag_of(a_config()) != tag_of(a_config(address="tcp://10.0.0.2:8516"))
    assert tag_of(a_config(tag="mine")) == "mine"
