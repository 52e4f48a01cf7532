"""The processes of a soak: a scheduler, an object storage, two adapters and a cluster, each started again as needed."""

import contextlib
import os
import select
import uuid
from pathlib import Path

import psutil
import zmq

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.directory import directory_name, user_folder
from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.monitor_messages import MonitorReport
from scaler_runtime.transport import SubSocket, can_bind
from tests.integration.commands import Command, free_address, is_alive, wait_until

SHORT = ("--heartbeat-interval-seconds", 1, "--death-timeout-seconds", 30)
TIMEOUT_SECONDS = 2
CLIENT_TIMEOUT_SECONDS = 3
"""Three of a client's heartbeats are waited for in any case."""

RETENTION_SECONDS = 6
"""Of a client's objects: it comes back from a stop in time, and finds them."""

STORAGE = "object storage"
ADAPTERS = ("native", "fixed", "cluster")
PARTS = (STORAGE, "scheduler", *ADAPTERS)
_MARK = "SCALER_SOAK_CAST"
"""Every process of a cast has it in its environment, however it came to be."""

_PORT_TO_STORAGE = 1


class Cast:
    """See the module. `command_of` has who plays each part at the moment.

    With `own_storage` the scheduler starts the object storage itself.
    """

    def __init__(self, *, own_storage: bool = False) -> None:
        self.own_storage = own_storage
        self.storage_address, self.address, self.monitor_address = (free_address() for _ in range(3))
        if own_storage:
            address = Address.from_string(self.address)
            self.storage_address = str(address.with_port((address.port or 0) + _PORT_TO_STORAGE))
        self.command_of: dict[str, Command] = {}
        self._mark = uuid.uuid4().hex
        self._former: list[Command] = []

    @property
    def environment(self) -> dict[str, str]:
        """What marks the processes of this cast."""
        return {_MARK: self._mark}

    @property
    def folder(self) -> Path:
        """Where objects lie."""
        return user_folder() / directory_name(Address.from_string(self.storage_address))

    def start(self, *parts: str) -> None:
        """Start these parts, all without any."""
        for part in parts or PARTS:
            if part == STORAGE and self.own_storage:
                continue
            known = self.command_of.get(part)
            if known is not None:
                self._former.append(known)
            self.command_of[part] = Command(*self._arguments(part), environment=self.environment)
            if part in {"scheduler", STORAGE}:
                self.command_of[part].wait_for_line(f"{part} listening on")

    def stop(self) -> None:
        """Stop everything in order, and prove that nothing is left: no process, no port, no file in shared memory."""
        for part in reversed(PARTS):
            command = self.command_of.get(part)
            if command is not None and command.process.poll() is None:
                assert command.stop() == 0, f"{part} failed:\n{command.output}"
        for command in (*self._former, *self.command_of.values()):
            command.assert_nothing_left()
        wait_until(lambda: not self.processes(), lambda: f"left over: {self.processes()}")
        for address in (self.address, self.storage_address, self.monitor_address):
            assert can_bind(Address.from_string(address)), f"{address} stays taken"
        assert not self.folder.exists(), f"{self.folder} is left: {list(self.folder.iterdir())}"

    def kill(self) -> None:
        """End everything, however it stands."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for command in self.command_of.values():
            command.process.wait()

    def restart_if_ended(self, part: str) -> None:
        """See to it that somebody plays the part."""
        if part in self.command_of and self.command_of[part].process.poll() is not None:
            self.command_of[part].assert_nothing_left()
            self.start(part)

    def zygote(self, part: str) -> psutil.Process:
        """Return the process that forks an adapter's workers, of a new adapter if that has just ended."""

        def look() -> list[psutil.Process]:
            self.restart_if_ended(part)
            return self.command_of[part].children()

        (zygote,) = wait_until(look)
        return zygote

    def workers(self, part: str) -> list[psutil.Process]:
        """Return the living processes of an adapter's workers."""
        with contextlib.suppress(psutil.NoSuchProcess):
            zygotes = self.command_of[part].children()
            return [process for zygote in zygotes for process in zygote.children() if is_alive(process)]
        return []

    def processes(self) -> list[psutil.Process]:
        """Return every living process that any part has started, also those that lost their parents."""
        return [process for process in psutil.process_iter() if self._is_mine(process) and is_alive(process)]

    def assert_idle(self) -> None:
        """Wait until nothing is known of a client that is gone: no task waits or runs, no object lies anywhere."""
        with contextlib.closing(_Monitor(self.monitor_address)) as monitor:
            wait_until(monitor.is_idle, lambda: f"the scheduler still has {monitor.report}")
            wait_until(lambda: monitor.objects_at(self.storage_address) == 0, lambda: "objects are left")

    def _is_mine(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.pid != os.getpid() and process.environ().get(_MARK) == self._mark
        return False

    def _arguments(self, part: str) -> tuple[object, ...]:
        address = self.address
        return {
            STORAGE: ("scaler_object_storage", self.storage_address),
            "scheduler": (
                "scaler_scheduler",
                address,
                *(() if self.own_storage else ("-osa", self.storage_address)),
                *("-ma", self.monitor_address),
                *("--client-timeout-seconds", CLIENT_TIMEOUT_SECONDS, "--worker-timeout-seconds", TIMEOUT_SECONDS),
                *("--object-retention-seconds", RETENTION_SECONDS),
                *("--policy-content", "allocate=even_load; scaling=vanilla(upper=1,cooldown=1)"),
            ),
            "native": ("scaler_adapter_native", address, "--max-workers", 2, *SHORT),
            "fixed": ("scaler_adapter_fixed_native", address, "--max-workers", 1, "--restart", *SHORT),
            "cluster": ("scaler_cluster", address, "--num-of-workers", 1, *SHORT),
        }[part]


class _Monitor:
    """Listens to what the scheduler says of itself every second, and asks the object storage."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = SubSocket(self._context, Address.from_string(address))
        self.report: MonitorReport | None = None

    def is_idle(self) -> bool:
        """Whether the next report, if one comes soon, knows of no client and no task."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.poll(100)
        fresh = False
        while (frames := self._socket.receive()) is not None:
            with contextlib.suppress(ProtocolError):
                self.report, fresh = codec.decode_monitor(frames[0]), True
        report = self.report
        if not fresh or report is None:
            return False
        busy = any(worker.outstanding or worker.queued or worker.has_task for worker in report.workers)
        return not (report.clients or report.ready or report.functions or busy)

    def objects_at(self, address: str) -> int:
        """Return how many objects an object storage has."""
        place = Address.from_string(address)
        with contextlib.closing(ObjectStorageConnector(self._context, place, timeout_seconds=30)) as connector:
            return connector.statistics().objects

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self._context.term()


def send(process: psutil.Process, number: int) -> None:
    """Signal a process that may have ended by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
