"""A registry of images on this machine, without encryption, that holds nothing in the beginning and keeps nothing."""

import contextlib
import copy
import signal
import subprocess
import urllib.request

from tests.integration.commands import PATIENCE_SECONDS, free_address, wait_until

COMMANDS = ("docker-registry",)
PACKAGES = ("docker-registry",)
CONFIGURATION = """\
version: 0.1
log:
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {folder}/images
http:
  addr: {address}
"""


class Registry:
    """See the module."""

    def __init__(self, folder):
        self.folder = folder
        self.address = free_address().removeprefix("tcp://")
        self._process = None

    def __enter__(self):
        (self.folder / "config.yml").write_text(CONFIGURATION.format(folder=self.folder, address=self.address))
        self.start()
        return self

    def __exit__(self, *details):
        if self._process is not None:
            self.stop()

    def start(self):
        """Start it, and wait until it answers."""
        log = self.folder / "log"
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [*COMMANDS, "serve", str(self.folder / "config.yml")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, log.read_text)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End it."""
        process, self._process = self._process, None
        process.terminate()
        process.wait(PATIENCE_SECONDS)

    @contextlib.contextmanager
    def silent(self):
        """Let it take requests, and answer them only afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def trusted_by(self, podman):
        """Return an engine with the same store that fetches from here, though nothing is encrypted."""
        known = self.folder / "registries.conf"
        known.write_text(f'[[registry]]\nlocation = "{self.address}"\ninsecure = true\n')
        other = copy.copy(podman)
        other.environment = {**podman.environment, "CONTAINERS_REGISTRIES_CONF": str(known)}
        return other

    def _answers(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=PATIENCE_SECONDS) as answer:
                return answer.status == 200
        except OSError:
            return False
