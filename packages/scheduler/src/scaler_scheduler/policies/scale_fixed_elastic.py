"""`scaling=fixed_elastic`: adapters for one group keep it always; the others follow the bounds of `vanilla`."""

from dataclasses import replace

from scaler_scheduler.policies import scale_ratio
from scaler_scheduler.policies.scale_ratio import Bounds
from scaler_scheduler.policies.snapshot import Decision, Snapshot, Surplus


def decide(bounds: Bounds, snapshot: Snapshot) -> Decision:
    """See the module."""
    primary = tuple(adapter for adapter in snapshot.adapters if adapter.capacity == 1)
    started = {adapter.peer: 1 for adapter in primary if adapter.room > 0}
    always = tuple((a.capabilities, a.workers_per_group) for a in primary if a.groups or a.peer in started)
    secondary = tuple(adapter for adapter in snapshot.adapters if adapter.capacity != 1)
    rest = scale_ratio.decide(bounds, replace(snapshot, adapters=secondary, others=(*snapshot.others, *always)))
    too_many = tuple(
        Surplus(frozenset({adapter.peer}), (adapter.groups - 1) * adapter.workers_per_group)
        for adapter in primary
        if adapter.groups > 1  # its engine has started one that nobody asked for
    )
    return Decision({**started, **rest.growth}, (*rest.surplus, *too_many), f"{len(primary)} primary; {rest.reason}")
