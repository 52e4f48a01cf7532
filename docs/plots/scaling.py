"""Draws docs/images/scaling.png: tasks and workers over time under three scaling policies, from real commands."""

import time
from concurrent.futures import wait

from docs.plots.drawing import draw_runs
from docs.plots.stack import AdapterCommand, Observer, Run, stack
from scaler import ScalerFuture

SCALING = ("vanilla(cooldown=3)", "vanilla(upper=1,cooldown=3)", "backlog(target=2,cooldown=3)")
NATIVE = AdapterCommand("native", ("--max-workers", "8"))
WAVES = ((0.0, 40, 0.5), (16.0, 8, 1.5))
"""When tasks are submitted, how many, and how many seconds each takes."""


def main() -> None:
    """Measure and draw."""
    draw_runs({scaling: measure(f"allocate=even_load; scaling={scaling}") for scaling in SCALING}, "scaling.png")


def measure(policy: str) -> Run:
    """Submit the waves to a scheduler with one native adapter, and watch until the last worker has gone."""
    futures: list[ScalerFuture] = []
    with stack(policy, [NATIVE]) as (client, pids):
        observer = Observer(pids, {"tasks": lambda: sum(not future.done() for future in list(futures))})
        observer.start()
        for at_seconds, tasks, task_seconds in WAVES:
            observer.wait_until(at_seconds)
            futures += [client.submit(time.sleep, task_seconds) for _ in range(tasks)]
        wait(futures)
        observer.wait_until_gone("native")
        return observer.stop()
