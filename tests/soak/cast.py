"""The processes of a soak: a scheduler, an object storage, two adapters and a cluster, each started again as needed."""

import contextlib

import psutil

from scaler_object_storage.directory import directory_name, user_folder
from scaler_protocol.addresses import Address
from tests.integration.commands import Command, free_address, is_alive, wait_until

SHORT = ("--heartbeat-interval-seconds", 1, "--death-timeout-seconds", 30)
TIMEOUT_SECONDS = 2


class Cast:
    """See the module. `command_of` has who plays each part at the moment."""

    def __init__(self) -> None:
        self.storage_address, self.address, self.monitor_address = (free_address() for _ in range(3))
        self.command_of: dict[str, Command] = {}
        self._former: list[Command] = []

    def start(self, *parts: str) -> None:
        """Start these parts, all without any."""
        for part in parts or ("object storage", "scheduler", "native", "fixed", "cluster"):
            known = self.command_of.get(part)
            if known is not None:
                self._former.append(known)
            self.command_of[part] = Command(*self._arguments(part))
            if part in {"scheduler", "object storage"}:
                self.command_of[part].wait_for_line(f"{part} listening on")

    def stop(self) -> None:
        """Stop everything in order, and prove that nothing is left: no process, no port, no file in shared memory."""
        for part in ("cluster", "fixed", "native", "scheduler", "object storage"):
            command = self.command_of.get(part)
            if command is not None and command.process.poll() is None:
                assert command.stop() == 0, f"{part} failed:\n{command.output}"
        for command in (*self._former, *self.command_of.values()):
            command.assert_nothing_left()
        for address in (self.address, self.storage_address):
            folder = user_folder() / directory_name(Address.from_string(address))
            assert not folder.exists(), f"{folder} is left: {list(folder.iterdir())}"

    def kill(self) -> None:
        """End everything, however it stands."""
        for command in self.command_of.values():
            with contextlib.suppress(Exception):
                for process in command.tree():
                    process.kill()

    def restart_if_ended(self, part: str) -> None:
        """See to it that somebody plays the part."""
        if self.command_of[part].process.poll() is not None:
            self.command_of[part].assert_nothing_left()
            self.start(part)

    def zygote(self, part: str) -> psutil.Process:
        """Return the process that forks an adapter's workers."""
        (zygote,) = wait_until(lambda: psutil.Process(self.command_of[part].process.pid).children())
        return zygote

    def workers(self, part: str) -> list[psutil.Process]:
        """Return the living processes of an adapter's workers."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [process for process in self.zygote(part).children() if is_alive(process)]
        return []

    def _arguments(self, part: str) -> tuple[object, ...]:
        address = self.address
        return {
            "object storage": ("scaler_object_storage", self.storage_address),
            "scheduler": (
                "scaler_scheduler",
                address,
                *("-osa", self.storage_address, "-ma", self.monitor_address),
                *("--client-timeout-seconds", 4, "--worker-timeout-seconds", TIMEOUT_SECONDS),
                *("--object-retention-seconds", TIMEOUT_SECONDS),
                *("--policy-content", "allocate=even_load; scaling=vanilla(upper=1,cooldown=1)"),
            ),
            "native": ("scaler_adapter_native", address, "--max-workers", 2, *SHORT),
            "fixed": ("scaler_adapter_fixed_native", address, "--max-workers", 1, "--restart", *SHORT),
            "cluster": ("scaler_cluster", address, "--num-of-workers", 1, *SHORT),
        }[part]


def send(process: psutil.Process, number: int) -> None:
    """Signal a process that may have ended by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
