"""docker-py's answers and failures as the adapter's."""

import json

import docker
import pytest

from scaler_adapter_container.engine import (
    End,
    Engine,
    EngineError,
    Listed,
    NoSuchContainer,
    NoSuchImage,
    Refused,
    Request,
    Unanswered,
    Unreached,
)
from tests.unit.adapter_container.fake_docker import FakeDocker, broken, late, no_container, no_image, refusal

REQUEST = Request("name", "image", ("python3",), {"l": "1"}, {"E": "2"}, "me", {"binds": ["/a:/b"]})
INSPECTED = {
    "Id": "c1",
    "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "Error": "two\nlines"},
    "HostConfig": {"Memory": 64},
    "Config": {"Labels": {"l": "1"}},
}


def test_a_container_is_made_as_requested():
    client = FakeDocker(create_container={"Id": "c1"}, create_host_config={"Binds": ["/a:/b"]})
    assert Engine(client).create(REQUEST) == "c1"
    assert client.asked[0] == ("create_host_config", (), {"binds": ["/a:/b"]})
    name, arguments, options = client.asked[1]
    assert (name, arguments) == ("create_container", ("image", ("python3",)))
    assert options == {
        "name": "name",
        "labels": {"l": "1"},
        "environment": {"E": "2"},
        "user": "me",
        "host_config": {"Binds": ["/a:/b"]},
        "stop_timeout": 10,
    }


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (no_image(), NoSuchImage, "no such image"),
        (no_container(), NoSuchContainer, "no such container"),
        (refusal(409, "the name\nis taken"), Refused, "the name is taken"),
        (refusal(500, "the name is taken"), Refused, "the name is taken"),
        (broken(FileNotFoundError(2, "No such file or directory")), Unreached, "No such file or directory"),
        (broken(ConnectionRefusedError(111, "Connection refused")), Unreached, "Connection refused"),
        (broken(ConnectionResetError(104, "Connection reset by peer")), Unanswered, "Connection reset by peer"),
        (late(), Unanswered, "read timed out"),
        (docker.errors.DockerException("strange"), Unanswered, "strange"),
    ],
)
def test_failures_are_told_apart(error, kind, said):
    with pytest.raises(EngineError) as caught:
        Engine(FakeDocker(start=error)).start("c1")
    assert type(caught.value) is kind
    assert said in str(caught.value)


def test_a_list_is_asked_for_by_labels():
    client = FakeDocker(containers=[{"Id": "c1", "State": "Running", "Labels": None}])
    assert Engine(client).all_with({"a": "b"}) == [Listed("c1", "running", {})]
    assert client.asked == [("containers", (), {"all": True, "filters": {"label": ["a=b"]}})]


def test_a_container_is_found_by_its_name_or_not():
    assert Engine(FakeDocker(inspect_container=INSPECTED)).find("name") == Listed("c1", "exited", {"l": "1"})
    assert Engine(FakeDocker(inspect_container=no_container())).find("name") is None


def test_an_end_is_read_with_the_last_lines():
    client = FakeDocker(inspect_container=INSPECTED, logs=b"first\n\n\xff last\n")
    assert Engine(client).end_of("c1", 5) == End(137, True, 64, "two lines", ("first", "\ufffd last"))


def test_an_engine_that_keeps_no_log_tells_no_lines():
    client = FakeDocker(inspect_container=INSPECTED, logs=refusal(501, "log driver does not support reading"))
    assert Engine(client).end_of("c1", 5).last_lines == ()


@pytest.mark.parametrize("status", [409, 500])
def test_a_signal_to_what_has_just_ended_is_none(status):
    client = FakeDocker(kill=refusal(status, "is not running"), inspect_container=INSPECTED)
    Engine(client).signal("c1", "SIGTERM")


def test_a_signal_to_what_is_gone_is_none():
    Engine(FakeDocker(kill=no_container())).signal("c1", "SIGTERM")


def test_a_signal_that_is_refused_though_the_container_runs_is_an_error():
    running = {**INSPECTED, "State": {"Status": "running"}}
    with pytest.raises(Refused, match="not allowed"):
        Engine(FakeDocker(kill=refusal(500, "not allowed"), inspect_container=running)).signal("c1", "SIGTERM")


def test_removing_takes_volumes_along_and_does_not_mind_who_was_first():
    client = FakeDocker(remove_container=no_container())
    Engine(client).remove("c1")
    assert client.asked == [("remove_container", ("c1",), {"v": True, "force": True})]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("a", "a:latest"),
        ("a:1", "a:1"),
        ("host:5000/a", "host:5000/a:latest"),
        ("host:5000/a:1", "host:5000/a:1"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_one_image_is_fetched_not_all_of_that_name(image, name):
    client = FakeDocker(pull=json.dumps({"status": "done"}))
    Engine(client).pull(image)
    assert client.asked == [("pull", (name,), {})]


def test_a_pull_that_fails_says_so_behind_a_good_status():
    lines = [json.dumps({"status": "trying"}), "no json", json.dumps({"error": "unauthorized:\n no"}), json.dumps([])]
    with pytest.raises(Refused, match="unauthorized: no"):
        Engine(FakeDocker(pull="\n".join(lines))).pull("a")


def test_events_are_told_by_their_actions():
    client = FakeDocker(events=iter([{"Action": "start"}, {"Action": "die"}]))
    assert list(Engine(client).events({"a": "b"})) == ["start", "die"]
    assert client.asked == [("events", (), {"decode": True, "filters": {"type": ["container"], "label": ["a=b"]}})]


def test_without_an_engine_its_address_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(Unreached, match=f"unix://{tmp_path}/none: No such file or directory"):
        Engine.open(f"unix://{tmp_path}/none")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/other")
    with pytest.raises(Unreached, match=f"unix://{tmp_path}/other"):
        Engine.open(None)


@pytest.mark.parametrize("host", ["nonsense://x", "tcp://"])
def test_an_address_that_is_none_is_said(host):
    with pytest.raises(Unreached, match=host):
        Engine.open(host)


def test_certificates_that_are_missing_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(Unreached, match="cannot reach a container engine"):
        Engine.open(None)
