"""`scaling=capability`: the bounds of `vanilla` for each set of capabilities asked for, over the workers suiting it."""

from scaler_protocol.messages import Capabilities
from scaler_runtime.core import Peer
from scaler_scheduler.policies.allocate import suits
from scaler_scheduler.policies.scale_ratio import Bounds
from scaler_scheduler.policies.snapshot import AdapterView, Decision, Demand, Snapshot, Surplus, spread


def decide(bounds: Bounds, snapshot: Snapshot) -> Decision:
    """Grow for the most demanding tasks first: their workers may suit others. Surplus is what nobody misses."""
    adapters = {adapter.peer: adapter for adapter in snapshot.adapters}
    demands = sorted((d for d in snapshot.demands if d.tasks), key=lambda d: len(d.capabilities), reverse=True)
    growth: dict[Peer, int] = {}
    for demand in demands:
        able = tuple(adapter for adapter in adapters.values() if suits(adapter.capabilities, demand.capabilities))
        current = _supply(able, snapshot, demand.capabilities)
        more = spread(bounds.workers(demand.tasks, current) - current, able)
        for peer, groups in more.items():
            growth[peer] = growth.get(peer, 0) + groups
            adapters[peer] = adapters[peer].grown(groups)
    reason = (
        ", ".join(f"{demand.tasks} tasks for {demand.capabilities or 'anyone'}" for demand in demands) or "no tasks"
    )
    return Decision(growth, _surplus(bounds, snapshot, adapters, demands), reason)


def _surplus(
    bounds: Bounds, snapshot: Snapshot, adapters: dict[Peer, AdapterView], demands: list[Demand]
) -> tuple[Surplus, ...]:
    spare: list[tuple[Demand, int]] = []
    for demand in demands:
        able = tuple(adapter for adapter in adapters.values() if suits(adapter.capabilities, demand.capabilities))
        current = _supply(able, snapshot, demand.capabilities)
        spare.append((demand, current - bounds.workers(demand.tasks, current)))
    surplus: list[Surplus] = []
    for adapter in adapters.values():
        concerned = [i for i, (demand, _) in enumerate(spare) if suits(adapter.capabilities, demand.capabilities)]
        own = adapter.groups * adapter.workers_per_group
        removable = min([own, *(spare[i][1] for i in concerned)])
        if removable > 0:
            surplus.append(Surplus(frozenset({adapter.peer}), removable))
            for i in concerned:
                spare[i] = (spare[i][0], spare[i][1] - removable)
    return tuple(surplus)


def _supply(able: tuple[AdapterView, ...], snapshot: Snapshot, requested: Capabilities) -> int:
    mine = sum(adapter.groups * adapter.workers_per_group for adapter in able)
    return mine + sum(count for offered, count in snapshot.others if suits(offered, requested))
