"""How often worker groups start and stop under loads of various shapes: `python -m tests.simulation.load_shapes`.

The real cores of scheduler and adapter under the virtual clock, without faults. A policy flaps where it starts more
groups than the load ever needs at one time.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from scaler_adapter_core.model import AdapterProfile, Limits
from scaler_protocol import messages as m
from scaler_protocol.batch import U32, numbers
from scaler_runtime.session import Up
from tests.simulation.adapters import Site
from tests.simulation.clients import submission
from tests.simulation.faults import NONE
from tests.simulation.network import HEARTBEAT_SECONDS, Peer, Server
from tests.simulation.world import World

LOAD_SECONDS = 120.0
COOLDOWN_SECONDS = 5.0
MAX_GROUPS = 8
BEGIN_SECONDS = 11.0
"""A new scheduler stops nothing in its first ten seconds."""
POLICIES = ("vanilla(upper=1)", "vanilla(upper=2,lower=1)", "backlog(target=1)")
_STEP_SECONDS = 0.05
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Shape:
    """A load: how many tasks are to be submitted in the step that begins now; None in a wave until all have ended."""

    name: str
    tasks: "Callable[[LoadedClient, float], int]"
    task_seconds: float = 0.5


@dataclass
class Figures:
    """What a run showed."""

    starts: int = 0
    stops_under_load: int = 0
    waves: int = 0
    most: int = 0
    """Groups at one time."""
    left: int = 0


class LoadedClient(Peer):
    """Submits what a shape says."""

    role = "client"

    def __init__(self, world: World, server: Server, shape: Shape) -> None:
        super().__init__(world, server, "client")
        self.unfinished = 0
        self.idle_since = 0.0
        self.waves = 0
        self.owed = 0.0
        """Fractions of tasks."""
        self._shape = shape
        self._ids = count(1)
        self._ends = world.now + BEGIN_SECONDS + LOAD_SECONDS
        world.at(BEGIN_SECONDS, self._step)

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes and all has ended."""
        return self.world.now >= self._ends and not self.unfinished

    def on_up(self, up: Up) -> None:
        """Define the function."""
        if up.fresh:
            self.send(m.DefineFunction(b"a" * 16, "a", b"code"))

    def on_message(self, message: m.Message) -> None:
        """Count outcomes."""
        if isinstance(message, m.TaskResults):
            self.unfinished -= sum(numbers(U32, message.counts))
            self.idle_since = self.world.now

    def _step(self) -> None:
        if self.world.now < self._ends:
            tasks = self._shape.tasks(self, self.world.now - (self._ends - LOAD_SECONDS))
            if tasks:
                self.unfinished += tasks
                self.send(submission(next(self._ids), "a", tasks, self._shape.task_seconds))
            self.world.at(_STEP_SECONDS, self._step)


def steady(client: LoadedClient, _seconds: float) -> int:
    """Ten tasks a second, at random: work for five workers on average."""
    return sum(client.world.chance(10 * _STEP_SECONDS / 10) for _ in range(10))


def sawtooth(client: LoadedClient, seconds: float) -> int:
    """From nothing to sixteen tasks a second, every four seconds again."""
    client.owed += 16 * (seconds % 4.0) / 4.0 * _STEP_SECONDS
    tasks = int(client.owed)
    client.owed -= tasks
    return tasks


def waves(pause_seconds: float) -> "Callable[[LoadedClient, float], int]":
    """Sixteen tasks at once, again when the last has ended and a pause has passed."""

    def tasks(client: LoadedClient, _seconds: float) -> int:
        if client.unfinished or client.world.now < client.idle_since + pause_seconds:
            return 0
        client.waves += 1
        return 16

    return tasks


SHAPES = (
    Shape("steady", steady),
    Shape("sawtooth of 4 s", sawtooth),
    Shape(f"waves, {COOLDOWN_SECONDS - 0.5:g} s apart", waves(COOLDOWN_SECONDS - 0.5)),
    Shape(f"waves, {COOLDOWN_SECONDS + 0.5:g} s apart", waves(COOLDOWN_SECONDS + 0.5)),
)


def run(shape: Shape, policy: str, seed: int = 0) -> Figures:
    """Let the load pass, and everything come to rest."""
    world = World(seed)
    world.faults = NONE
    scaling = policy.replace(")", f",cooldown={COOLDOWN_SECONDS:g})")
    server = Server(world, f"allocate=even_load; scaling={scaling}", task_retry_limit=0)
    limits = Limits(max_groups=MAX_GROUPS, poll_seconds=0.25)
    site = Site(world, server, "N", AdapterProfile("N", HEARTBEAT_SECONDS, limits=limits))
    client = LoadedClient(world, server, shape)
    figures = Figures()
    seen: set[str] = set()

    def look() -> None:
        live = {unit.group_id for unit in site.engine.live}
        seen.update(site.engine.units)
        figures.starts, figures.most = len(seen), max(figures.most, len(live))
        if not client.is_over:
            figures.stops_under_load = len(seen) - len(live)

    world.after_each = look
    world.run(world.now + BEGIN_SECONDS + LOAD_SECONDS + _END_SECONDS)
    figures.left = len(site.engine.live)
    figures.waves = client.waves
    return figures


def main() -> int:
    """Print a line for each shape and policy."""
    sys.stdout.write(f"{LOAD_SECONDS:g} s of load, at most {MAX_GROUPS} groups, cooldown {COOLDOWN_SECONDS:g} s\n\n")
    sys.stdout.write(f"{'load':22} {'policy':26} {'most':>4} {'starts':>6} {'stops under load':>16}  waves\n")
    for shape in SHAPES:
        for policy in POLICIES:
            figures = run(shape, policy)
            sys.stdout.write(
                f"{shape.name:22} {policy:26} {figures.most:4} {figures.starts:6} {figures.stops_under_load:16}"
                f"  {figures.waves or ''}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
