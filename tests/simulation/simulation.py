"""One simulation: a phase with faults, in which nothing unsafe may happen, and one without, in which all ends well."""

from tests.simulation.adapters import Site, profile_of
from tests.simulation.clients import Client
from tests.simulation.faults import NONE, Faults
from tests.simulation.network import Server
from tests.simulation.world import World

FAULT_SECONDS = 30.0
WORK_SECONDS = 400.0
"""Within so long after the last fault every task has its outcome."""
QUIET_SECONDS = 150.0
"""Within so long after the last task no worker group is left."""
_POLICIES = (
    "allocate=even_load; scaling=vanilla(upper=2,lower=1,cooldown=2)",
    "allocate=even_load; scaling=vanilla(upper=1,lower=0.5,cooldown=0.5)",
    "allocate=capability; scaling=capability(upper=1,cooldown=2)",
    "allocate=even_load; scaling=backlog(target=0.5,cooldown=2)",
    "allocate=even_load; scaling=backlog(target=2,cooldown=0)",
    "allocate=even_load; scaling=fixed_elastic(upper=1,cooldown=1)",
)


class Broken(AssertionError):
    """A promise that was not kept; the text names the seed."""


class Simulation:
    """See the module."""

    def __init__(self, seed: int, faults: Faults | None = None, *, traced: bool = False) -> None:
        self.seed = seed
        self.world = World(seed)
        if faults is not None:
            self.world.faults = faults
        if traced:
            self.world.trace = []
        rng = self.world.rng
        self.policy = rng.choice(_POLICIES)
        self.world.log(f"seed {seed}: {self.policy}")
        self.world.log(f"{self.world.faults}")
        self.server = Server(self.world, self.policy, task_retry_limit=rng.choice([0, 3]))
        self.sites = [
            Site(self.world, self.server, name, profile_of(self.world, name)) for name in "NM"[: rng.choice([1, 1, 2])]
        ]
        self.clients = [Client(self.world, self.server, f"client {name}") for name in "AB"[: rng.choice([1, 2])]]
        self.world.after_each = self._check
        self.world.at(1.0, self._live)

    def run(self) -> None:
        """Run both phases; raises `Broken`."""
        self._run_with_faults()
        work_end = self.world.now + WORK_SECONDS
        if not self.world.run(work_end, self._is_worked_off):
            self._fail(f"not worked off in {WORK_SECONDS} s: {self._unfinished()}")
        if not self.world.run(self.world.now + QUIET_SECONDS, self._is_quiet):
            self._fail(f"not quiet in {QUIET_SECONDS} s: {self._left_over()}")

    def _run_with_faults(self) -> None:
        self.world.run(self.world.now + FAULT_SECONDS)
        self.world.log("---- no more faults")
        self.world.faults = NONE
        for client in self.clients:
            client.is_busy = False

    def _live(self) -> None:
        """Let a second pass, with the scheduler's faults."""
        world = self.world
        if self.server.core is not None and world.happens(world.faults.scheduler_crash_rate, 1.0):
            self.server.crash()
            world.at(world.rng.random() * 12.0, self.server.start)
        if world.happens(world.faults.partition_rate, 1.0):
            self._partition()
        world.at(1.0, self._live)

    def _partition(self) -> None:
        """Cut some peers off from the scheduler, all until the same moment."""
        world = self.world
        seconds = 0.5 + world.faults.partition_seconds * world.rng.random()
        peers = [connection.peer for connection in self.server.connections.values() if world.chance(0.5)]
        world.log(f"cut off for {seconds:.1f} s: {', '.join(peer.name for peer in peers)}")
        for peer in peers:
            peer.cut_off(seconds)

    # ---- what holds at every moment

    def _check(self) -> None:
        for site in self.sites:
            limit = site.profile.limits.max_groups
            live = len(site.engine.live)
            if live > limit + site.extras:
                self._fail(f"{live} units of {site.name}, whose limit is {limit} (and {site.extras} by mistake)")
        for client in self.clients:
            if client.doubled:
                self._fail(client.doubled[0])
        if self.server.stray_messages:
            self._fail(f"the scheduler refused what an honest peer said: {self.server.stray_messages[0]}")
        if self.server.core is not None:
            self._check_desires()

    def _check_desires(self) -> None:
        """The scheduler never asks an adapter for more groups than it takes, those that are leaving included."""
        assert self.server.core is not None
        for adapter in self.server.core.state.adapters.values():
            asked = sum(group.since_revision > 0 for group in adapter.groups.values())
            if asked > adapter.report.max_worker_groups:
                self._fail(f"{asked} groups asked of {adapter.name}")

    # ---- what holds in the end

    def _is_worked_off(self) -> bool:
        return self.server.core is not None and all(client.is_finished for client in self.clients if client.is_alive)

    def _is_quiet(self) -> bool:
        return not self._left_over()

    def _unfinished(self) -> dict[str, dict[int, list[int]]]:
        return {
            client.name: {
                number: [task for task in range(batch.message.count) if task not in batch.outcomes]
                for number, batch in client.batches.items()
                if not batch.is_finished
            }
            for client in self.clients
            if client.is_alive
        }

    def _is_primary(self, site: Site) -> bool:
        """Whether a site has one group always."""
        return "fixed_elastic" in self.policy and site.profile.limits.max_groups == 1

    def _left_over(self) -> list[str]:
        """Return what is there and should not be, or the other way round."""
        primary = [site for site in self.sites if self._is_primary(site)]
        kept = {unit.group_id for site in primary for unit in site.engine.live}
        left = [f"{len(site.engine.live)} groups of {site.name}" for site in primary if len(site.engine.live) != 1]
        units = [unit.group_id for site in self.sites for unit in site.engine.live]
        left += [group_id for group_id in units if group_id not in kept]
        left += [host.name for site in self.sites for host in site.hosts.values() if host.group_id not in kept]
        if self.server.core is None:
            return [*left, "no scheduler"]
        state = self.server.core.state
        left += [worker.worker_id for worker in state.workers.values() if worker.group_id not in kept]
        groups = [group for adapter in state.adapters.values() for group in adapter.groups.values()]
        left += [group.group_id for group in groups if group.group_id not in kept or group.leaving]
        left += [f"{group_id} has no worker" for group_id in kept if group_id not in state.members]
        left += ["slices of lost processes"] * bool(state.lost)
        left += ["unfinished tasks"] * bool(state.unfinished_tasks)
        return left

    def _fail(self, what: str) -> None:
        raise Broken(f"seed {self.seed}, after {self.world.now - 1000.0:.3f} s: {what}")
