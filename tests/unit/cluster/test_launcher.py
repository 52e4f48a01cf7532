"""A launcher knows what its children say and how they end."""

import threading

import pytest

from scaler_cluster.launcher import Launcher, StartError


@pytest.fixture
def launcher(zygotes):
    zygotes.says = {"talker": "hello"}
    return Launcher(["module"])


def test_a_child_is_started_with_its_configuration_and_its_parent(launcher, zygotes):
    launcher.start("talker", "package.module:function", "the configuration")

    assert zygotes.last.preload == ["module"]
    assert zygotes.last.started == [("talker", "package.module:function", ("the configuration", 41))]
    assert launcher.pid("talker") == 100


def test_what_a_child_says_is_handed_over(launcher):
    launcher.start("talker", "module:function", None)

    assert launcher.said("talker") == "hello"


def test_the_address_of_a_server(launcher, zygotes):
    zygotes.says = {"server": ("listening", "tcp://127.0.0.1:5"), "broken": ("failed", "no port"), "odd": ("what", 1)}
    for name in zygotes.says:
        launcher.start(name, "module:function", None)

    assert launcher.listening_address("server") == "tcp://127.0.0.1:5"
    with pytest.raises(StartError, match="no port"):
        launcher.listening_address("broken")
    with pytest.raises(StartError, match="the odd said"):
        launcher.listening_address("odd")


def test_a_child_that_ends_before_it_is_ready_is_an_error_with_its_end(launcher, zygotes):
    launcher.start("silent", "module:function", None)
    zygotes.last.end("silent", exit_code=3)

    with pytest.raises(StartError, match="the silent ended before it was ready: exit code 3"):
        launcher.said("silent")


def test_a_launcher_that_ends_before_a_child_is_ready_is_an_error_with_its_reason(launcher, zygotes):
    launcher.start("silent", "module:function", None)
    zygotes.last.vanish()

    with pytest.raises(StartError, match="the silent ended before it was ready: killed"):
        launcher.said("silent")


def test_a_child_that_says_nothing_is_an_error(launcher):
    launcher.start("silent", "module:function", None)

    with pytest.raises(StartError, match="the silent was not ready within 0 seconds"):
        launcher.said("silent", 0.0)


def test_the_end_of_a_child_is_known(launcher, zygotes):
    launcher.start("one", "module:function", None)
    launcher.start("two", "module:function", None)

    assert not launcher.wait_ended("one", 0.0)
    assert launcher.exit_code("one") is None

    zygotes.last.end("two", number=11)
    zygotes.last.end("one", exit_code=0)

    assert launcher.wait_ended("one", None)
    assert (launcher.exit_code("one"), launcher.exit_code("two")) == (0, -11)


def test_all_children_end_with_the_launcher_process(launcher, zygotes):
    launcher.start("one", "module:function", None)
    zygotes.last.vanish()

    assert launcher.wait_ended("one", None)
    assert launcher.exit_code("one") == -9


def test_nothing_is_sent_to_a_child_that_has_ended(launcher, zygotes):
    launcher.start("one", "module:function", None)
    launcher.signal("one", 15)
    assert launcher.wait_ended("one", None)
    launcher.signal("one", 15)

    assert zygotes.last.signals == [("one", 15)]


def test_closing_ends_all_once(launcher, zygotes):
    launcher.start("one", "module:function", None)
    launcher.close(2.0)
    launcher.close()

    assert zygotes.last.closed_with == 2.0
    assert launcher.wait_ended("one", None)
    launcher.signal("one", 15)
    assert zygotes.last.signals == []


def test_two_threads_that_wait_both_learn_of_it(launcher, zygotes):
    launcher.start("one", "module:function", None)
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(launcher.wait_ended("one", 60))) for _ in range(2)]
    for thread in threads:
        thread.start()
    zygotes.last.end("one", exit_code=0)
    for thread in threads:
        thread.join()

    assert ends == [True, True]
