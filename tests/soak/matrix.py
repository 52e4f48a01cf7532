"""The cells of the table of failures: who is hit, by which signal, and what is expected of the futures then."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import psutil

from tests.integration.commands import Command, wait_until
from tests.soak.cast import Cast, send

PAUSE_SECONDS = 3.5
"""Beyond every timeout of the cast."""

STORED_LOST = frozenset({"ObjectStorageException", "MissingObjects"})


@dataclass(frozen=True)
class Cell:
    """`hit` does it, at a random moment; `allowed` are failures of futures that the table allows."""

    victim: str
    number: signal.Signals
    hit: Callable[[Cast, Command, Random], None]
    allowed: frozenset[str] = frozenset()
    client_ends: bool = False
    """Whether the client itself is hit for good."""

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.victim} {self.number.name}"


def _worker(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
    parts = [part for part in ("native", "fixed", "cluster") if cast.workers(part)]
    part = rng.choice(parts)
    _signal(rng.choice(cast.workers(part)), number)
    if part == "cluster" and number != signal.SIGSTOP:
        cast.command_of[part].process.wait(30)  # its last worker has ended
        cast.restart_if_ended(part)


def _zygote(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
    part = rng.choice(("native", "fixed"))
    _signal(cast.zygote(part), number)


def _command(part: str) -> Callable[[Cast, Command, Random, signal.Signals], None]:
    def hit(cast: Cast, _client: Command, rng: Random, number: signal.Signals) -> None:
        cast.restart_if_ended(part)
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


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    send(process, number)
    if number == signal.SIGSTOP:
        time.sleep(PAUSE_SECONDS)
        send(process, signal.SIGCONT)


_HITS = {
    "worker": _worker,
    "zygote": _zygote,
    "native": _command("native"),
    "fixed": _command("fixed"),
    "cluster": _command("cluster"),
    "scheduler": _command("scheduler"),
    "object storage": _command("object storage"),
    "client": _client,
}
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)


def _cell(victim: str, number: signal.Signals) -> Cell:
    hit = _HITS[victim]
    # Asked to end, an object storage removes what it has.
    loses = victim == "object storage" and number == signal.SIGTERM
    return Cell(
        victim,
        number,
        lambda cast, client, rng: hit(cast, client, rng, number),
        allowed=STORED_LOST if loses else frozenset(),
        client_ends=victim == "client" and number != signal.SIGSTOP,
    )


CELLS = [_cell(victim, number) for victim in _HITS for number in _SIGNALS]


def run_cell(cast: Cast, cell: Cell, tasks: int, seed: int, hits: int = 1) -> dict[str, int]:
    """Let a client work, hit, and see that everything ends well; returns the outcomes of its tasks."""
    rng = Random(seed)
    for part in cast.command_of:  # one that was stopped for too long loses its workers, and may end with the last
        cast.restart_if_ended(part)
    client = Command("tests.soak.client", cast.address, tasks, seed)
    try:
        client.wait_for_line("submitted")
        for at in sorted(rng.uniform(0.02, 0.6) for _ in range(hits)):
            _wait_for_progress(client, at * tasks)
            if client.process.poll() is None:
                cell.hit(cast, client, rng)
        if cell.client_ends:
            return {}
        code = client.process.wait(180)
        client.assert_nothing_left()
        summary = next((line for line in client.lines if line.startswith("outcomes ")), "")
        assert code == 0, f"{cell.name}, seed {seed}: exit code {code}\n{client.output}"
        outcomes = _outcomes(summary)
        bad = outcomes.keys() - {"right"} - cell.allowed
        assert not bad, f"{cell.name}, seed {seed}: {bad}\n{client.output}"
        return outcomes
    finally:
        if client.process.poll() is None:
            client.process.kill()


def _wait_for_progress(client: Command, wanted: float) -> None:
    def reached() -> bool:
        lines = [line for line in client.lines if line.startswith("progress ")]
        return client.process.poll() is not None or (bool(lines) and int(lines[-1].split()[1]) >= wanted)

    wait_until(reached, lambda: client.output)


def _outcomes(summary: str) -> dict[str, int]:
    inside = summary.partition("{")[2].partition("}")[0]
    pairs = (part.split(": ") for part in inside.split(", ") if part)
    return {name.strip("'"): int(count) for name, count in pairs}
