"""The cells of the table of failures: who is hit, by which signal, and what is expected of the futures then."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil

from tests.integration.commands import Command, wait_until
from tests.soak.cast import ADAPTERS, STORAGE, Cast, send

PAUSE_SECONDS = 4.5
"""Of a stop: beyond every timeout of the cast, which take a second more to be noticed."""

ZYGOTE_PAUSE_SECONDS = 12.0
"""A host replaces a stopped zygote after ten."""

MOST_BEGINNING_SECONDS = 0.3
STORED_LOST = frozenset({"ObjectStorageException", "MissingObjects"})

_Hit = Callable[[Cast, Command, Random, signal.Signals], None]
_COMPLAINT = "could not be handled"
"""What a process logs of an event at which its core raised; see also `PYTHONDEVMODE`."""

_NOTICED = {
    "worker": "is stopped; its tasks run elsewhere",
    "zygote": "was stopped for too long",
    "native": "silent for",
    "fixed": "silent for",
    "cluster": "silent for",
    "client": "silent for",
}
"""What somebody says of a stop that was longer than the timeout."""


@dataclass(frozen=True)
class Cell:
    """`hit` does it, at a random moment; `allowed` are failures of futures that the table allows."""

    victim: str
    number: signal.Signals
    hit: _Hit
    own_storage: bool = False
    """Whether the scheduler has started the object storage itself."""

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.victim}{' with its storage' if self.own_storage else ''} {self.number.name}"

    @property
    def allowed(self) -> frozenset[str]:
        """Asked to end, an object storage removes what it has, and so does a scheduler with its own."""
        loses = self.number == signal.SIGTERM and (self.victim == STORAGE or self.own_storage)
        return STORED_LOST if loses else frozenset()

    @property
    def client_ends(self) -> bool:
        """Whether the client itself is hit for good."""
        return self.victim == "client" and self.number != signal.SIGSTOP

    @property
    def share(self) -> int:
        """How many times more tasks it takes for some to be left after the stop."""
        return 2 if (self.victim, self.number) == ("zygote", signal.SIGSTOP) else 1


@dataclass
class Run:
    """What one run of a cell came to."""

    cell: Cell
    seed: int
    hits: int = 0
    """How many there were: none is done to a client that has ended."""
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    noticed: bool = False
    """Whether somebody said that the stop was longer than the timeout."""
    failure: str = ""


def _worker(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
    found: list[tuple[str, psutil.Process]] = wait_until(
        lambda: [(part, worker) for part in ADAPTERS for worker in cast.workers(part)]
    )
    part, worker = rng.choice(found)
    _signal(worker, number)
    if part == "cluster" and number != signal.SIGSTOP:
        cast.command_of[part].process.wait(30)  # its last worker has ended
        cast.restart_if_ended(part)


def _zygote(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
    part = rng.choice(("native", "fixed"))
    _signal(cast.zygote(part), number, ZYGOTE_PAUSE_SECONDS)


def _command(part: str) -> _Hit:
    def hit(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
        cast.restart_if_ended(part)
        if part in ADAPTERS:  # before the first line of a program the system ends it, without our doing
            cast.zygote(part)
        command = cast.command_of[part]
        command.tree()  # so that what it leaves behind is known
        _signal(psutil.Process(command.process.pid), number)
        if number == signal.SIGSTOP:
            return
        command.process.wait(30)
        if number == signal.SIGTERM:
            assert command.process.returncode == 0, f"{part} ended with {command.process.returncode}:\n{command.output}"
        time.sleep(rng.random())  # somebody has to notice
        cast.restart_if_ended(part)

    return hit


def _client(_cast: Cast, client: Command, _rng: Random, number: signal.Signals) -> None:
    _signal(psutil.Process(client.process.pid), number)
    if number != signal.SIGSTOP:
        client.process.wait(30)
        client.assert_nothing_left()


def _signal(process: psutil.Process, number: signal.Signals, pause_seconds: float = PAUSE_SECONDS) -> None:
    send(process, number)
    if number == signal.SIGSTOP:
        time.sleep(pause_seconds)
        send(process, signal.SIGCONT)


_HITS: dict[str, _Hit] = {
    "worker": _worker,
    "zygote": _zygote,
    "native": _command("native"),
    "fixed": _command("fixed"),
    "cluster": _command("cluster"),
    "scheduler": _command("scheduler"),
    STORAGE: _command(STORAGE),
    "client": _client,
}
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)

CELLS = [
    *(Cell(victim, number, hit) for victim, hit in _HITS.items() for number in _SIGNALS),
    *(Cell("scheduler", number, _HITS["scheduler"], own_storage=True) for number in _SIGNALS),
]


def run_cell(cast: Cast, cell: Cell, tasks: int, seed: int, most_hits: int = 1) -> Run:
    """Let a client work, hit, and see that everything ends well, and that nothing is kept of the client."""
    rng = Random(seed)
    run = Run(cell, seed)
    wanted = 1 if cell.victim == "client" or cell.share > 1 else rng.randint(1, most_hits)
    tasks *= cell.share
    for part in list(cast.command_of):  # one that was stopped for too long loses its workers, and may end with the last
        cast.restart_if_ended(part)
    said = {command: len(command.lines) for command in cast.command_of.values()}
    began = time.monotonic()
    client = Command("tests.soak.client", cast.address, tasks, seed, environment=cast.environment)
    try:
        client.wait_for_line("connected")
        for at in sorted(rng.uniform(-0.1, 0.6) for _ in range(wanted)):
            _wait_for_moment(client, at, tasks, rng)
            if client.process.poll() is None:
                run.hits += 1
                cell.hit(cast, client, rng, cell.number)
        if not cell.client_ends:
            run.outcomes = _ended(client, cell)
        run.noticed = any(_notices(command, cell, since) for command, since in said.items())
        cast.assert_idle()
        complaints = [line for command, since in said.items() for line in command.lines[since:] if _COMPLAINT in line]
        assert not complaints, "\n".join(complaints)
        run.seconds = time.monotonic() - began
        return run
    finally:
        if client.process.poll() is None:
            client.process.kill()


def _ended(client: Command, cell: Cell) -> dict[str, int]:
    """Wait for the client's end and return what became of its tasks."""
    code = client.process.wait(180)
    client.assert_nothing_left()
    summary = next((line for line in client.lines if line.startswith("outcomes ")), "")
    assert code == 0, f"{cell.name}: exit code {code}\n{client.output}"
    outcomes = _outcomes(summary)
    bad = outcomes.keys() - {"right"} - cell.allowed
    assert not bad, f"{cell.name}: {bad}\n{client.output}"
    return outcomes


def _notices(command: Command, cell: Cell, since: int) -> bool:
    text = _NOTICED.get(cell.victim)
    return cell.number == signal.SIGSTOP and text is not None and any(text in line for line in command.lines[since:])


def _wait_for_moment(client: Command, at: float, tasks: int, rng: Random) -> None:
    """Wait until this share of the tasks is done; before 0, some moment while they are submitted."""
    if at < 0:
        time.sleep(rng.uniform(0, MOST_BEGINNING_SECONDS))
        return

    def reached() -> bool:
        lines = [line for line in client.lines if line.startswith("progress ")]
        return client.process.poll() is not None or (bool(lines) and int(lines[-1].split()[1]) >= at * tasks)

    wait_until(reached, lambda: client.output)


def _outcomes(summary: str) -> dict[str, int]:
    inside = summary.partition("{")[2].partition("}")[0]
    pairs = (part.split(": ") for part in inside.split(", ") if part)
    return {name.strip("'"): int(count) for name, count in pairs}
