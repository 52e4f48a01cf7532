"""What the system's files say."""

import os

import pytest

from scaler_worker.machine import OutOfMemoryKills, is_stopped


@pytest.mark.parametrize(("state", "stopped"), [("R", False), ("S", False), ("T", True), ("t", True), ("Z", False)])
def test_a_stopped_process_is_recognised(tmp_path, state, stopped):
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(f"42 (a (strange) T name) {state} 1 42 42 0 -1")
    assert is_stopped(42, tmp_path) is stopped


def test_a_process_that_is_gone_is_not_stopped(tmp_path):
    assert not is_stopped(42, tmp_path)
    assert not is_stopped(os.getpid())


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "proc" / "self").mkdir(parents=True)
    return tmp_path


def test_kills_are_counted_from_the_beginning(tree):
    (tree / "proc/self/cgroup").write_text("0::/a/b\n")
    events = tree / "cgroup/a/b/memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 3\noom_kill 2\n")
    kills = OutOfMemoryKills(tree / "proc", tree / "cgroup")
    assert kills.count() == 0
    events.write_text("low 0\noom 4\noom_kill 3\n")
    assert kills.count() == 1
    events.unlink()
    assert kills.count() is None


def test_the_older_kind_of_control_groups(tree):
    (tree / "proc/self/cgroup").write_text("12:cpu,cpuacct:/x\n4:memory:/y\n")
    control = tree / "cgroup/memory/y/memory.oom_control"
    control.parent.mkdir(parents=True)
    control.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert OutOfMemoryKills(tree / "proc", tree / "cgroup").count() == 0


@pytest.mark.parametrize("file", ["memory.events", "memory/memory.oom_control"])
def test_a_control_group_that_is_mounted_as_the_root_as_in_containers(tree, file):
    (tree / "proc/self/cgroup").write_text("4:memory:/engine/container\n0::/engine/container\n")
    counter = tree / "cgroup" / file
    counter.parent.mkdir(parents=True)
    counter.write_text("oom_kill 5\n")
    kills = OutOfMemoryKills(tree / "proc", tree / "cgroup")
    counter.write_text("oom_kill 7\n")
    assert kills.count() == 2


def test_where_nothing_can_be_read_nothing_is_known(tree):
    assert OutOfMemoryKills(tree / "proc", tree / "cgroup").count() is None
