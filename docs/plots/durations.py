"""Draws docs/images/durations.png and prints its figures: ten long tasks, then a million tiny ones.

With `vanilla`, which counts tasks, and with `backlog`, which counts seconds.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import wait

from docs.plots.drawing import draw_runs
from docs.plots.stack import AdapterCommand, Observer, Run, stack
from scaler import Client, ScalerFuture

SCALING = ("vanilla(cooldown=3)", "backlog(target=1,cooldown=3)")
LONG_TASKS, LONG_SECONDS = 10, 3.0
TINY_TASKS, TINY_MAPS = 1_000_000, 20
MAX_WORKERS = 10


def main() -> None:
    """Measure, draw, print."""
    runs: dict[str, Run] = {}
    for scaling in SCALING:
        for name, work in (("long", long_tasks), ("tiny", tiny_tasks)):
            run, seconds = measure(scaling, work)
            runs[f"{scaling}\n{name}"] = run
            sys.stdout.write(f"{scaling}, {name}: done after {seconds:.2f} s, at most {run.most_workers} workers\n")
    draw_runs(runs, "durations.png", are_alike=False)


class Work:
    """What has been submitted and has not ended."""

    def __init__(self) -> None:
        self.futures: list[ScalerFuture] = []
        self.mapped = 0

    def unfinished(self) -> int:
        """Count it; within one call of `map` nobody knows."""
        return self.mapped + sum(not future.done() for future in list(self.futures))


def long_tasks(client: Client, work: Work) -> None:
    """Ten tasks of three seconds."""
    work.futures += [client.submit(time.sleep, LONG_SECONDS) for _ in range(LONG_TASKS)]
    wait(work.futures)


def tiny_tasks(client: Client, work: Work) -> None:
    """A million tasks of less than a microsecond, in twenty calls."""
    work.mapped = TINY_TASKS
    part = TINY_TASKS // TINY_MAPS
    for _ in range(TINY_MAPS):
        client.map(abs, range(-part, 0))
        work.mapped -= part


def measure(scaling: str, submit: Callable[[Client, Work], None]) -> tuple[Run, float]:
    """Let one work be done; return what was seen and how long it took, workers' start included."""
    work = Work()
    native = AdapterCommand("native", ("--max-workers", str(MAX_WORKERS)))
    with stack(f"allocate=even_load; scaling={scaling}", [native]) as (client, pids):
        observer = Observer(pids, {"tasks": work.unfinished})
        observer.start()
        began = time.monotonic()
        submit(client, work)
        seconds = time.monotonic() - began
        observer.wait_until_gone("native")
        return observer.stop(), seconds
