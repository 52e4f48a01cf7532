"""Draws docs/images/policies.png: the policies that tell adapters apart, measured on real commands."""

import time
from concurrent.futures import wait

from docs.plots.drawing import draw_runs
from docs.plots.stack import AdapterCommand, Observer, Run, stack
from scaler import ScalerFuture

CAPABILITY = "capability(upper=1,cooldown=3)"
FIXED_ELASTIC = "fixed_elastic(upper=1,cooldown=3)"
NO = "no"
FIXED = "scaler_worker_adapter_fixed_native"
GPU = {"gpu": 1}


def main() -> None:
    """Measure and draw."""
    draw_runs({CAPABILITY: capability(), FIXED_ELASTIC: fixed_elastic(), NO: no()}, "policies.png")


def capability() -> Run:
    """Six tasks that ask for nothing, then eight that ask for a capability that one adapter offers."""
    adapters = (
        AdapterCommand("plain", ("--max-workers", "4")),
        AdapterCommand("gpu=2", ("--max-workers", "4", "--per-worker-capabilities", "gpu=2")),
    )
    return _watch(
        f"allocate=capability; scaling={CAPABILITY}",
        adapters,
        ((0.0, 6, {}), (8.0, 8, GPU)),
        {"any": {}, "gpu": GPU},
        last="gpu=2",
    )


def fixed_elastic() -> Run:
    """Two waves for a primary and a secondary adapter."""
    adapters = (
        AdapterCommand("primary", ("--max-workers", "1")),
        AdapterCommand("secondary", ("--max-workers", "4")),
    )
    waves = ((1.0, 6, {}), (9.0, 3, {}))
    policy = f"allocate=even_load; scaling={FIXED_ELASTIC}"
    return _watch(policy, adapters, waves, {"tasks": {}}, last="secondary")


def no() -> Run:
    """Two waves for a fixed number of workers."""
    adapters = (AdapterCommand("fixed native", ("--max-workers", "3"), FIXED),)
    return _watch("allocate=even_load; scaling=no", adapters, ((1.0, 6, {}), (9.0, 3, {})), {"tasks": {}}, last="")


def _watch(
    policy: str,
    adapters: tuple[AdapterCommand, ...],
    waves: tuple[tuple[float, int, dict[str, int]], ...],
    kinds: dict[str, dict[str, int]],
    *,
    last: str,
) -> Run:
    """Submit tasks of one second in waves, by kind of capabilities; watch until the adapter `last` has no worker."""
    futures: dict[str, list[ScalerFuture]] = {name: [] for name in kinds}
    with stack(policy, adapters) as (client, pids):
        observer = Observer(pids, {name: lambda mine=mine: _unfinished(mine) for name, mine in futures.items()})
        observer.start()
        for at_seconds, tasks, capabilities in waves:
            observer.wait_until(at_seconds)
            name = next(name for name, wanted in kinds.items() if wanted == capabilities)
            futures[name] += [
                client.submit_verbose(time.sleep, (1.0,), None, capabilities or None) for _ in range(tasks)
            ]
        wait([future for mine in futures.values() for future in mine])
        if last:
            observer.wait_until_gone(last)
        observer.wait_until(15.0)
        return observer.stop()


def _unfinished(futures: list[ScalerFuture]) -> int:
    return sum(not future.done() for future in list(futures))
