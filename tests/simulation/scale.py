"""What the scheduler's core costs as it grows: `hatch run simulate-scale`, or with `--json FILE` for the plot.

From 10 to 10,000 workers under a full load, up to ten million tasks; then fleets of adapters, up to 50 with 1,000
groups. Only the time spent in the core is counted: it is what limits a scheduler, and the same on a busy machine.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulation.adapter_fleet import Costs, Fleet
from tests.simulation.throughput import Load

WORKERS = (10, 100, 1000, 10_000)
FLEETS = ((1, 20), (5, 100), (50, 1000))
"""Adapters, and groups of all of them."""
TASKS = 1_000_000


@dataclass
class Cost:
    """CPU seconds in the core, with so many workers."""

    workers: int
    tasks: int
    task: float
    slice: float
    host_report: float
    adapter_report: float
    decision: float


def load_cost(workers: int, tasks: int) -> Cost:
    """Work so many tasks off."""
    load = Load(workers)
    load.run(20 * workers)
    load.run(tasks)
    task, piece = load.spent / load.tasks, load.spent / load.slices
    done = load.tasks
    host, adapter = load.beat()
    return Cost(workers, done, task, piece, host, adapter, load.decide())


def main() -> int:
    """Print tables."""
    parser = argparse.ArgumentParser(prog="simulate-scale", description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks for each number of workers (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="*", default=list(WORKERS), help="numbers of workers")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    arguments = parser.parse_args()
    write = sys.stdout.write
    write(" workers       tasks  us/task  us/slice  us/host report  us/adapter report  us/decision\n")
    costs: list[Cost] = []
    for workers in arguments.workers:
        costs.append(cost := load_cost(workers, arguments.tasks))
        write(
            f"{workers:8,} {cost.tasks:11,} {cost.task * 1e6:8.2f} {cost.slice * 1e6:9.1f}"
            f" {cost.host_report * 1e6:15.1f} {cost.adapter_report * 1e6:18.1f} {cost.decision * 1e6:12.1f}\n"
        )
    write("\nadapters  groups  events  us/event  us/heartbeat  us/decision\n")
    fleets: list[tuple[int, Costs]] = []
    for adapters, groups in FLEETS:
        fleets.append((adapters, figures := Fleet(adapters, groups).run()))
        write(
            f"{adapters:8} {figures.groups:7} {figures.events:7} {figures.each * 1e6:9.1f}"
            f" {figures.heartbeat * 1e6:13.1f} {figures.decision * 1e6:12.1f}\n"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
