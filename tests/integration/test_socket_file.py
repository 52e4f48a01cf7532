"""`ipc://path`: a living server keeps its address, a dead one's is taken over, and no file stays behind."""

import socket

import pytest

from scaler_client.client import Client
from scaler_runtime.socket_file import SocketFile
from tests.integration.commands import PATIENCE_SECONDS, Command, running

pytestmark = pytest.mark.integration

SERVERS = {
    "scaler_scheduler": ("scheduler listening on", {"s", "s_monitor"}),
    "scaler_object_storage": ("object storage listening on", {"s"}),
}


def sockets(folder):
    return {path.name for path in folder.iterdir() if path.is_socket()}


@pytest.mark.parametrize("module", SERVERS)
def test_the_files_of_a_command_are_gone_when_it_has_ended(module, tmp_path):
    line, files = SERVERS[module]
    with running(module, f"ipc://{tmp_path}/s") as command:
        command.wait_for_line(line)
        assert files <= sockets(tmp_path)

    assert sockets(tmp_path) == set()


@pytest.mark.parametrize("module", SERVERS)
def test_a_living_server_keeps_its_address(module, tmp_path):
    line, files = SERVERS[module]
    address = f"ipc://{tmp_path}/s"
    with running(module, address) as command:
        command.wait_for_line(line)
        second = Command(module, address)
        code = second.process.wait(PATIENCE_SECONDS)
        second.assert_nothing_left()

        assert code == 1
        assert second.lines[-1].endswith(f": cannot listen on {address}: Address already in use")
        assert "Traceback" not in second.output
        assert files <= sockets(tmp_path)
        if module == "scaler_scheduler":
            with Client(address):  # it is the first one that answers: the second has ended
                assert command.process.poll() is None


@pytest.mark.parametrize("module", SERVERS)
def test_the_address_of_a_server_that_was_killed_is_taken_over(module, tmp_path):
    line, files = SERVERS[module]
    command = Command(module, f"ipc://{tmp_path}/s")
    command.wait_for_line(line)
    command.kill()
    assert files <= sockets(tmp_path)

    with running(module, f"ipc://{tmp_path}/s") as command:
        command.wait_for_line(line)
    assert sockets(tmp_path) == set()


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    command = Command("scaler_scheduler", f"ipc://{file}")

    assert command.process.wait(PATIENCE_SECONDS) == 1
    command.assert_nothing_left()
    assert command.lines == [f"scaler_scheduler: cannot listen on ipc://{file}: File exists"]
    assert file.read_text() == "mine"


def test_a_folder_that_is_not_there_is_said(tmp_path):
    address = f"ipc://{tmp_path}/missing/s"
    command = Command("scaler_scheduler", address)

    assert command.process.wait(PATIENCE_SECONDS) == 1
    command.assert_nothing_left()
    assert command.lines == [f"scaler_scheduler: cannot listen on {address}: No such file or directory"]


def test_only_one_of_those_who_want_a_path_at_the_same_time_gets_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SocketFile(f"{tmp_path}/s").claimed(), pytest.raises(OSError, match="in use"), SocketFile("./s").claimed():
        pass
    with SocketFile("s").claimed():
        pass


def test_a_server_with_a_full_queue_still_counts_as_living(tmp_path):
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        with pytest.raises(OSError, match="in use"), SocketFile(path).claimed():
            pass


def test_the_file_of_whoever_came_later_is_left_alone(tmp_path):
    path = tmp_path / "s"
    first = SocketFile(str(path))
    with first.claimed():
        path.touch()
    path.rename(tmp_path / "moved")  # its number stays in use: the next file has another
    path.touch()

    first.remove()

    assert path.exists()
