"""Integrates a function with a sharp peak by divide and conquer: a task that is not exact enough halves its interval.

The halves are tasks of the task, to any depth. While a task waits for them, its worker runs others: two workers are
enough for a tree of any height.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from scaler import Client, SchedulerClusterCombo

N_WORKERS = 2
POINTS = 10_001
"""Of a task's finer rule: an odd number."""
PEAK_WIDTH = 1e-5
SPAN = 10.0
ABSOLUTE_ERROR = 1e-6


@dataclass(frozen=True)
class Part:
    """The integral over an interval, and the tree of tasks that found it."""

    value: float
    tasks: int
    height: int


def peak(x: float) -> float:
    """Return the function: a Cauchy peak at 1/3, where no halving ever cuts."""
    return PEAK_WIDTH / (PEAK_WIDTH**2 + (x - 1 / 3) ** 2)


def exact_integral(start: float, stop: float) -> float:
    """Return the integral by the closed formula."""
    return math.atan((stop - 1 / 3) / PEAK_WIDTH) - math.atan((start - 1 / 3) / PEAK_WIDTH)


def simpson(values: Sequence[float], start: float, stop: float) -> float:
    """Return the integral of equidistant values by Simpson's rule."""
    step = (stop - start) / (len(values) - 1)
    return step / 3 * (values[0] + values[-1] + 4 * math.fsum(values[1:-1:2]) + 2 * math.fsum(values[2:-1:2]))


def integrate(start: float, stop: float, error_allowed: float) -> Part:
    """Integrate over an interval: alone if two rules agree, else as two tasks of half the interval each."""
    step = (stop - start) / (POINTS - 1)
    values = [peak(start + index * step) for index in range(POINTS)]
    fine, coarse = simpson(values, start, stop), simpson(values[::2], start, stop)
    if abs(fine - coarse) <= error_allowed:
        return Part(fine, 1, 1)
    middle = (start + stop) / 2
    with Client() as client:  # inside a task: of the scheduler that sent it
        halves = [
            client.submit(integrate, low, high, error_allowed / 2) for low, high in ((start, middle), (middle, stop))
        ]
        left, right = (half.result() for half in halves)
    return Part(left.value + right.value, 1 + left.tasks + right.tasks, 1 + max(left.height, right.height))


def main() -> int:
    """Integrate once; 0 when the result is as exact as it should be."""
    console = Console()
    with SchedulerClusterCombo(N_WORKERS, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        began_at = time.monotonic()
        whole = client.submit(integrate, -SPAN, SPAN, ABSOLUTE_ERROR).result()
    seconds = time.monotonic() - began_at
    exact = exact_integral(-SPAN, SPAN)
    console.print(f"{whole.tasks} tasks, {whole.height} deep, in {seconds:.1f} s on {N_WORKERS} workers")
    console.print(f"integral {whole.value:.6f}, by the formula {exact:.6f}")
    if abs(whole.value - exact) > ABSOLUTE_ERROR:
        console.print("[red]That is further off than allowed.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
