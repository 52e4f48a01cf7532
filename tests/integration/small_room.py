"""A room of its own for a test's processes: all that they put into shared memory or temporary files has to be small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.commands import Command

FOLDERS = ("/dev/shm", "/var/tmp")
SIZE_MIB = 8
_ROOT = Path(__file__).parents[2]


class SmallRoom:
    """Mounts a small tmpfs over each of the folders, for the processes that are started here and for nobody else."""

    def __init__(self) -> None:
        mounts = " && ".join(f"mount -t tmpfs -o size={SIZE_MIB}m tmpfs {folder}" for folder in FOLDERS)
        script = f"mount --make-rprivate / && {mounts} && echo ready && exec cat"
        arguments = ["unshare", "--mount", "sh", "-c", script]
        self._holder = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.is_there = self._holder.stdout.readline() == "ready\n"
        self._commands: list[Command] = []

    def command(self, module: str, *arguments: object) -> Command:
        """Start a command in the room; what it would write besides its work goes nowhere."""
        program = (*self._enter(), sys.executable, "-m")
        environment = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/var/tmp"}
        self._commands.append(Command(module, *arguments, program=program, environment=environment))
        return self._commands[-1]

    def shell(self, script: str) -> str:
        """Run a shell in the room and return what it says."""
        return subprocess.run(
            [*self._enter(), "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def fill(self, folder: str) -> None:
        """Take all the space that is left in a folder, as somebody else would."""
        self.shell(f"dd if=/dev/zero of={folder}/filler bs=64k 2>/dev/null; test -s {folder}/filler")

    def free(self, folder: str) -> None:
        """Give it back."""
        self.shell(f"rm {folder}/filler")

    def files(self) -> list[str]:
        """Return what lies in the folders."""
        return self.shell(f"find {' '.join(FOLDERS)} -mindepth 1").splitlines()

    def close(self) -> None:
        """End it, with all that still runs in it; the system unmounts what nobody uses."""
        for command in self._commands:
            if command.process.poll() is None:
                command.kill()
        self._holder.stdin.close()
        self._holder.wait(60)
        self._holder.stdout.close()

    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self._holder.pid), "--mount", f"--wd={_ROOT}")


def open_room() -> SmallRoom:
    """Return a room; skips the test where none can be made."""
    if os.getuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    if any(Path(entry).resolve().is_relative_to(folder) for entry in sys.path for folder in FOLDERS):
        pytest.skip("what is to be run lies in a folder that would be hidden")
    room = SmallRoom()
    if not room.is_there:
        room.close()
        pytest.skip("a mount namespace cannot be made here")
    return room
