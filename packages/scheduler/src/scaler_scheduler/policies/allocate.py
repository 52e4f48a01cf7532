"""Which worker may run a task (`allocate=`). Pure functions; how many tasks, and when, is decided in the core."""

from collections.abc import Callable
from dataclasses import dataclass

from scaler_protocol.messages import Capabilities

WITHOUT_QUANTITY = -1


@dataclass(frozen=True, slots=True)
class AllocationPolicy:
    """`suits(offered, requested)` tells who may run a task."""

    name: str
    heeds_capabilities: bool
    suits: Callable[[Capabilities, Capabilities], bool]

    def requested(self, capabilities: Capabilities) -> Capabilities:
        """Return what of the requested capabilities this policy heeds."""
        return capabilities if self.heeds_capabilities else {}


def suits(offered: Capabilities, requested: Capabilities) -> bool:
    """Whether a worker offers each requested capability: by name, and in quantity where one is asked for.

    An offer without quantity (-1) satisfies every request; quantities filter workers, they are not used up.
    """
    return all(
        name in offered and (offered[name] == WITHOUT_QUANTITY or offered[name] >= quantity)
        for name, quantity in requested.items()
    )


def _anyone(_offered: Capabilities, _requested: Capabilities) -> bool:
    return True


EVEN_LOAD = AllocationPolicy("even_load", heeds_capabilities=False, suits=_anyone)
CAPABILITY = AllocationPolicy("capability", heeds_capabilities=True, suits=suits)
