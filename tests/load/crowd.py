"""The processes of a load: a scheduler, an object storage, adapters with workers, clients. Some come and go."""

import contextlib
from random import Random

import psutil
import zmq

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_protocol.addresses import Address
from tests.integration.commands import Command, is_alive, wait_until

_SHORT = ("--heartbeat-interval-seconds", 2, "--death-timeout-seconds", 60)
_ANY = "tcp://127.0.0.1:0"
_KINDS = ("scaler_adapter_fixed_native", "scaler_adapter_native")


class Crowd:
    """See the module. The first adapter of each kind and three of four clients stay to the end."""

    def __init__(self, clients: int, workers: int, seed: int) -> None:
        self._rng = Random(seed)
        self._next_seed = seed
        self.storage = Command("scaler_object_storage", _ANY)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self.storage_address = self.storage.wait_for_line("object storage listening on").split()[-1]
            policy = "allocate=even_load; scaling=vanilla(upper=1,cooldown=5)"
            options = ("-osa", self.storage_address, "-pc", policy, "--task-retry-limit", 20)
            self.scheduler = Command("scaler_scheduler", _ANY, *options)
            self.address = self.scheduler.wait_for_line("scheduler listening on").split()[-1]
            counts = [workers // 6 + (at < workers % 6) for at in range(6)]
            self._places = [(_KINDS[at % 3 == 2], count) for at, count in enumerate(counts) if count]
            self.adapters = [self._adapter(*place) for place in self._places]
            self.clients = [self._client() for _ in range(clients)]
            place = Address.from_string(self.storage_address)
            self._connector = ObjectStorageConnector(self._context, place, timeout_seconds=30)
        except BaseException:
            self.kill()
            raise
        self.staying_clients = self.clients[: max(1, clients * 3 // 4)]
        self.staying_adapters = self.adapters[:1] + self.adapters[2:3]
        self._done_before = 0  # by clients that have gone
        self._ended: list[tuple[Command, bool]] = []

    # ---- who is there

    def done(self) -> int:
        """Return how many results all clients have had."""
        return self._done_before + sum(map(_done_by, self.clients))

    def workers(self) -> list[psutil.Process]:
        """Return the living worker processes."""
        return [worker for adapter in self.adapters for zygote in zygotes(adapter) for worker in _children(zygote)]

    def stored(self) -> tuple[int, int]:
        """Return how many objects there are, and their bytes."""
        figures = self._connector.statistics()
        return figures.objects, figures.size

    def assert_well(self) -> None:
        """Raise `AssertionError` where one has ended that was not asked to."""
        for command in (self.storage, self.scheduler, *self.adapters, *self.clients):
            assert command.process.poll() is None, f"ended with {command.process.returncode}:\n{command.output[-5000:]}"

    # ---- who comes and goes

    def kill_worker(self) -> str:
        """Kill or end one worker."""
        workers = self.workers()
        if not workers:
            return "no worker to kill"
        worker = self._rng.choice(workers)
        with contextlib.suppress(psutil.NoSuchProcess):
            self._rng.choice((worker.kill, worker.terminate))()
        return f"worker {worker.pid}"

    def replace_adapter(self) -> str:
        """End or kill one adapter, and start another one of its kind."""
        going = [adapter for adapter in self.adapters if adapter not in self.staying_adapters]
        if not going:
            return "no adapter may go"
        at = self.adapters.index(self._rng.choice(going))
        former = self.adapters[at]
        self._end(former)
        self.adapters[at] = self._adapter(*self._places[at])
        return f"adapter {former.process.pid}"

    def replace_client(self) -> str:
        """End or kill one client, and start another one."""
        going = [client for client in self.clients if client not in self.staying_clients and client.lines]
        if not going:
            return "no client may go"
        at = self.clients.index(self._rng.choice(going))
        former = self.clients[at]
        self._end(former)
        self._done_before += _done_by(former)
        self.clients[at] = self._client()
        return f"client {former.process.pid}"

    def _end(self, command: Command) -> None:
        command.tree()
        is_killed = self._rng.random() < 0.5
        (command.process.kill if is_killed else command.process.terminate)()
        self._ended.append((command, is_killed))

    # ---- the end

    def stop(self) -> None:
        """End all in order; nobody may have failed, and nothing may be left."""
        self._connector.close()
        self._context.term()
        for command in (*self.clients, *self.adapters):  # before a program's first line the system ends it
            wait_until(lambda command=command: command.lines or command.children(), lambda: "one does not begin")
        for command in self.clients:
            command.process.terminate()
        for command, is_killed in (*self._ended, *((client, False) for client in self.clients)):
            code = command.process.wait(60)  # not asked a second time: one that is about to end is killed by that
            assert is_killed or code == 0, f"ended with {code}:\n{command.output[-5000:]}"
            command.assert_nothing_left()
        for command in (*self.adapters, self.scheduler, self.storage):
            assert command.stop() == 0, f"ended with {command.process.returncode}:\n{command.output[-5000:]}"

    def kill(self) -> None:
        """End all, however it stands."""
        commands = [getattr(self, name, None) for name in ("storage", "scheduler")]
        for command in (*commands, *getattr(self, "adapters", ()), *getattr(self, "clients", ())):
            if command is not None and command.process.poll() is None:
                for process in command.tree():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()

    def _adapter(self, kind: str, workers: int) -> Command:
        return Command(kind, self.address, "--max-workers", workers, *_RESTARTING[kind], *_SHORT)

    def _client(self) -> Command:
        self._next_seed += 1
        return Command("tests.load.client", self.address, self._next_seed)


_RESTARTING = {"scaler_adapter_fixed_native": ("--restart",), "scaler_adapter_native": ()}


def zygotes(adapter: Command) -> list[psutil.Process]:
    """Return the process that forks an adapter's workers, if it is there."""
    return adapter.children()


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in process.children() if is_alive(child)]
    return []


def _done_by(client: Command) -> int:
    lines = client.lines
    for line in reversed(lines[-20:]):
        if line.startswith("done "):
            return int(line.split()[1])
    return 0
