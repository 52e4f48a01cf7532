"""What a scaling policy sees, and what it answers. Plain data, frozen: a policy cannot change anything by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from scaler_protocol.messages import Capabilities
from scaler_runtime.core import Peer

NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class AdapterView:
    """An adapter that may be scaled. `groups`: those it has or is about to have, without those on their way out."""

    peer: Peer
    capacity: int
    """Most groups; -1: no limit."""
    workers_per_group: int
    capabilities: Capabilities
    groups: int = 0
    draining: int = 0
    """Groups that finish what they run; any growth takes these back first."""
    leaving: int = 0
    """Groups that end, and take a place until they have."""
    is_full: bool = False
    """Whether it has refused a group for want of room, or is out of reach."""

    @property
    def room(self) -> float:
        """How many more groups it takes now, those that drain included."""
        places = inf if self.capacity == NO_LIMIT else max(0, self.capacity - self.groups - self.leaving)
        return min(self.draining, places) if self.is_full else places

    def grown(self, groups: int) -> "AdapterView":
        """Return how it will look with so many more groups."""
        return replace(self, groups=self.groups + groups, draining=max(0, self.draining - groups))


@dataclass(frozen=True, slots=True)
class Demand:
    """Unfinished tasks that ask for the same capabilities: ready, queued and running ones."""

    capabilities: Capabilities
    tasks: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The moment a policy decides on."""

    demands: tuple[Demand, ...]
    adapters: tuple[AdapterView, ...]
    others: tuple[tuple[Capabilities, int], ...] = ()
    """Workers that no adapter here can start or stop: what they offer, and how many of them."""
    known_seconds: float = 0.0
    """What the unfinished tasks of known duration take together."""
    unknown_tasks: int = 0
    """Unfinished tasks of unknown duration."""

    @property
    def tasks(self) -> int:
        """All unfinished tasks."""
        return sum(demand.tasks for demand in self.demands)

    @property
    def own_workers(self) -> int:
        """Workers of these adapters, on their way up included."""
        return sum(adapter.groups * adapter.workers_per_group for adapter in self.adapters)

    @property
    def workers(self) -> int:
        """All workers, on their way up included."""
        return self.own_workers + sum(count for _, count in self.others)


@dataclass(frozen=True, slots=True)
class Surplus:
    """More workers than wanted: any of these adapters may give up so many."""

    adapters: frozenset[Peer]
    workers: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many groups more each adapter shall have, what is too much, and why."""

    growth: Mapping[Peer, int] = field(default_factory=dict[Peer, int])
    surplus: tuple[Surplus, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """A policy with its parameters. `decide` None: adapters get no command."""

    name: str
    decide: Callable[[Snapshot], Decision] | None
    cooldown_seconds: float = 0.0
    """How long a surplus must last before it is released."""


def spread(workers: int, adapters: tuple[AdapterView, ...]) -> dict[Peer, int]:
    """Return how many more groups give `workers` more workers, within capacity.

    Groups that drain are taken back first; of new ones the adapter with the fewest groups gets the next.
    """
    growth: dict[Peer, int] = {}
    open_ones = [adapter for adapter in adapters if adapter.room > 0]

    def rank(one: AdapterView) -> tuple[bool, int]:
        more = growth.get(one.peer, 0)
        return more >= one.draining, one.groups + more

    while workers > 0 and open_ones:
        adapter = min(open_ones, key=rank)
        growth[adapter.peer] = growth.get(adapter.peer, 0) + 1
        workers -= adapter.workers_per_group
        if growth[adapter.peer] >= adapter.room:
            open_ones.remove(adapter)
    return growth


def resize(snapshot: Snapshot, wanted: int, reason: str) -> Decision:
    """Decide for so many workers, whichever adapter they are of."""
    current = snapshot.workers
    if wanted > current:
        return Decision(growth=spread(wanted - current, snapshot.adapters), reason=reason)
    surplus = min(current - wanted, snapshot.own_workers)
    if surplus > 0:
        adapters = frozenset(adapter.peer for adapter in snapshot.adapters)
        return Decision(surplus=(Surplus(adapters, surplus),), reason=reason)
    return Decision(reason=reason)
