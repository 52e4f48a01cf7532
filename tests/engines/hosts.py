"""Several hosts on this machine: network namespaces with addresses of their own on one switch, whose links can be cut.

Each has a `/dev/shm` of its own, too: object storage takes two processes that share it for one host, and would pass
values by it. Files are shared, as on a cluster. A host is a process that holds its namespaces: with it all is gone.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

from tests.integration.commands import Command, wait_until

COMMANDS = ("ip", "nsenter", "unshare")
PACKAGES = ("iproute2", "util-linux")
_HOLD = "mount -t tmpfs -o size=256m tmpfs /dev/shm && ip link set lo up && echo ready && exec sleep infinity"


class Hosts:
    """See the module. `addresses` are those of the hosts, by name."""

    def __init__(self, *names):
        self.addresses = {name: f"10.213.0.{number}" for number, name in enumerate(names, 1)}
        self._holders = {}

    def __enter__(self):
        try:
            self._hold("switch")
            self.run("switch", "ip", "link", "add", "bridge", "type", "bridge")
            self.run("switch", "ip", "link", "set", "bridge", "up")
            for name in self.addresses:
                self._connect(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *details):
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
            holder.stdout.close()

    def enter(self, name):
        """Return what begins a command that shall run on a host."""
        pid = self._holders[name].pid
        return ("nsenter", f"--target={pid}", "--net", "--mount", f"--wd={Path.cwd()}", "--")

    def run(self, name, *command):
        """Run a command on a host to its good end; return what it prints."""
        done = subprocess.run([*self.enter(name), *command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def running(self, name, module, *arguments, environment=None):
        """Run a module of Python on a host for the length of a block."""
        program = (*self.enter(name), sys.executable, "-m")
        command = Command(module, *arguments, program=program, environment=environment)
        try:
            yield command
        finally:
            command.stop()

    def cut(self, name):
        """Cut a host off."""
        self.run("switch", "ip", "link", "set", f"to-{name}", "down")

    def heal(self, name):
        """Connect it again."""
        self.run("switch", "ip", "link", "set", f"to-{name}", "up")

    def received(self, name):
        """Return how many bytes have come over a host's link."""
        (link,) = json.loads(self.run(name, "ip", "-j", "-s", "link", "show", "net"))
        return link["stats64"]["rx"]["bytes"]

    def memory_files(self, name):
        """Return what lies in a host's own `/dev/shm`."""
        return self.run(name, "ls", "/dev/shm").split()

    def _hold(self, name):
        holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c", _HOLD],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._holders[name] = holder
        assert holder.stdout.readline() == "ready\n"

    def _connect(self, name):
        self._hold(name)
        pid = str(self._holders[name].pid)
        end = ("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "net", "netns", pid)
        self.run("switch", *end)
        self.run("switch", "ip", "link", "set", f"to-{name}", "master", "bridge", "up")
        self.run(name, "ip", "addr", "add", f"{self.addresses[name]}/24", "dev", "net")
        self.run(name, "ip", "link", "set", "net", "up")


def wait_for_file(path):
    """Wait until a file is there."""
    wait_until(path.exists, lambda: f"{path} has not come")
