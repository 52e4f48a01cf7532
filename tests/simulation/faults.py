"""What may go wrong in a simulation. Rates are events in a second; shares are parts of one."""

from dataclasses import dataclass, fields
from random import Random


@dataclass(frozen=True)
class Faults:
    """Nothing, by default."""

    delay_seconds: float = 0.0
    """The longest way of a packet."""
    connection_loss_rate: float = 0.0
    """Of each connection. What is on its way is lost with it."""
    outage_seconds: float = 0.0
    """The longest time until a lost connection is made again; beyond patience, peers are given up."""
    duplicate_share: float = 0.0
    """Of packets: they arrive twice, the second time somewhat later."""
    partition_rate: float = 0.0
    """Of the whole: a part of the peers is cut off. Nothing arrives any more, and neither side is told."""
    partition_seconds: float = 0.0
    """The longest partition, if it is not nought; then the connections are found to be broken."""
    scheduler_crash_rate: float = 0.0
    adapter_crash_rate: float = 0.0
    client_crash_rate: float = 0.0
    worker_kill_rate: float = 0.0
    """Of each worker's process, by SIGKILL."""
    worker_stop_rate: float = 0.0
    """Of each worker's process, by SIGSTOP, and SIGCONT some time later."""
    unit_loss_rate: float = 0.0
    """Of each unit: it vanishes with its machine, and the engine does not know it any more."""
    slow_call_seconds: float = 0.0
    """The longest call to an engine."""
    call_failure_share: float = 0.0
    refusal_share: float = 0.0
    """Of launches: no capacity, quota, unavailable."""
    unknown_share: float = 0.0
    """Of launches; whether they have started their unit is open."""
    extra_share: float = 0.0
    """Of launches: they start one unit too many."""
    start_failure_share: float = 0.0
    """Of units: they end before they are ready."""


_MOST = Faults(
    delay_seconds=0.3,
    connection_loss_rate=0.05,
    outage_seconds=6.0,
    duplicate_share=0.3,
    partition_rate=0.06,
    partition_seconds=15.0,
    scheduler_crash_rate=0.05,
    adapter_crash_rate=0.08,
    client_crash_rate=0.01,
    worker_kill_rate=0.05,
    worker_stop_rate=0.03,
    unit_loss_rate=0.03,
    slow_call_seconds=4.0,
    call_failure_share=0.3,
    refusal_share=0.5,
    unknown_share=0.4,
    extra_share=0.3,
    start_failure_share=0.4,
)
NONE = Faults()


def draw(rng: Random) -> Faults:
    """Choose which faults there are, and how bad they are: about half of the kinds."""
    return Faults(
        **{
            field.name: getattr(_MOST, field.name) * rng.random() if rng.random() < 0.5 else 0.0
            for field in fields(Faults)
        }
    )
