"""Podman's Docker API with a store of its own in a folder: a worker image in it, nothing left when it has stopped.

All processes of a test run share it, since the image takes seconds to make: the first makes it, the last removes it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from pathlib import Path

import docker
import psutil

from tests.engines.worker_image import write_worker_image
from tests.integration.commands import PATIENCE_SECONDS, is_alive, wait_until

COMMANDS = ("podman", "runc")
PACKAGES = ("podman", "runc")
IMAGE = "localhost/scaler-worker:test"
EMPTY_IMAGE = "localhost/nothing:test"
"""Has no program at all."""
CGROUPS = Path("/sys/fs/cgroup")
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""


class Podman:
    """See the module."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "TMPDIR": str(self.folder / "tmp"),
        }

    # ---- the engine

    def make(self):
        """Make the store, with an image for workers in it."""
        for name in ("tmp", "staging"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "containers.conf").write_text(CONFIGURATION)
        (self.folder / "registries.conf").write_text("")
        write_worker_image(self.folder / "image.tar", self.folder / "staging")
        self.run("import", "--change", "ENV PATH=/usr/local/bin:/bin", str(self.folder / "image.tar"), IMAGE)
        (self.folder / "image.tar").unlink()
        with tarfile.open(self.folder / "empty.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("nothing"))
        self.run("import", str(self.folder / "empty.tar"), EMPTY_IMAGE)
        shutil.rmtree(self.folder / "staging")

    def try_out(self):
        """Run a container, which not every machine lets one do."""
        self.run("run", "--rm", "--network=host", "--memory=500m", IMAGE, "python3", "-c", "")

    def remove(self):
        """Remove everything that was made."""
        self.run("rm", "--all", "--force", "--time=0")
        self.run("rmi", "--all", "--force")
        wait_until(lambda: not self.processes(), lambda: f"left over: {self.processes()}")
        for mount in reversed(self._mounts()):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(self.folder)
        for group in (*CGROUPS.glob("*/libpod_parent/conmon"), *CGROUPS.glob("*/libpod_parent")):
            with contextlib.suppress(OSError):  # not empty: somebody else's
                group.rmdir()

    def command(self, *arguments):
        """Return a command of podman that works on this store."""
        return (
            "podman",
            f"--root={self.folder}/root",
            f"--runroot={self.folder}/run",
            f"--tmpdir={self.folder}/libpod",
            "--storage-driver=overlay",
            *arguments,
        )

    def run(self, *arguments):
        """Run a command of podman; return what it prints."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def processes(self):
        """Return the living processes of its containers, and their supervisors."""
        mark = f"{self.folder}/"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if words and Path(words[0]).name == "conmon" and any(mark in word for word in words):
                    found += [process, *process.children(recursive=True)]
        return [process for process in found if is_alive(process)]

    def _mounts(self):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if line.split()[4].startswith(f"{self.folder}/")]


class Service:
    """One server of the Docker API on the store; there may be several."""

    def __init__(self, podman, socket):
        self.podman = podman
        self.socket = Path(socket)
        self.host = f"unix://{self.socket}"
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *details):
        if self._process is not None:
            self.stop()

    def start(self):
        """Start it, and wait until it answers."""
        log = self.socket.with_suffix(".log")
        with log.open("a") as output:
            self._process = subprocess.Popen(
                self.podman.command("system", "service", "--time=0", self.host),
                env=self.podman.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.podman.folder,
            )
        wait_until(self._answers, log.read_text)

    def stop(self):
        """Stop it; containers go on."""
        process, self._process = self._process, None
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        self.socket.unlink(missing_ok=True)

    def signal(self, number):
        """Send it a signal."""
        self._process.send_signal(number)

    @contextlib.contextmanager
    def client(self):
        """The engine as programs see it."""
        client = docker.APIClient(base_url=self.host, version="auto", timeout=PATIENCE_SECONDS)
        try:
            yield client
        finally:
            client.close()

    def _answers(self):
        try:
            with self.client() as client:
                return client.ping()
        except docker.errors.DockerException:
            return False


class Unusable(Exception):
    """Podman is here, and cannot run containers on this machine."""


@contextlib.contextmanager
def shared_podman(folder):
    """The engine of this test run, in a folder that its processes share; `Unusable` says why there is none."""
    folder.mkdir(exist_ok=True)
    state, name = folder / "state", uuid.uuid4().hex
    podman = Podman(folder / "engine")
    with _alone(folder):
        known = json.loads(state.read_text()) if state.exists() else {"failure": "", "users": []}
        if not known["users"] and not known["failure"]:
            known["failure"] = _made(podman)
        if not known["failure"]:
            known["users"].append(name)
        state.write_text(json.dumps(known))
    if known["failure"]:
        raise Unusable(known["failure"])
    try:
        yield podman
    finally:
        with _alone(folder):
            known = json.loads(state.read_text())
            known["users"].remove(name)
            state.write_text(json.dumps(known))
            if not known["users"]:
                podman.remove()


def _made(podman):
    """Make the store, and try it; return what podman says if it cannot run a container, nothing if all is well."""
    try:
        podman.make()
        podman.try_out()
    except AssertionError as error:
        podman.remove()
        return " ".join(str(error).split())
    except BaseException:
        podman.remove()
        raise
    return ""


@contextlib.contextmanager
def _alone(folder):
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
