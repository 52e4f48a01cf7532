"""Draws docs/images/costs.png: what a task costs the scheduler's core, from 10 to 10,000 workers."""

import sys

from matplotlib import pyplot as plt

from docs.plots.drawing import prepare, save
from tests.simulation.scale import TASKS, WORKERS, load_cost


def main() -> None:
    """Measure and draw."""
    prepare()
    costs = [load_cost(workers, TASKS) for workers in WORKERS]
    for cost in costs:
        sys.stdout.write(f"{cost}\n")
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    axis.plot(WORKERS, [cost.task * 1e6 for cost in costs], "o-", color="tab:blue", label="one task")
    axis.plot(WORKERS, [cost.slice * 1e6 for cost in costs], "s-", color="tab:orange", label="one slice of tasks")
    axis.plot(WORKERS, [cost.host_report * 1e6 for cost in costs], "^-", color="tab:green", label="heartbeat of a host")
    axis.set_xscale("log")
    axis.set_xlabel("workers")
    axis.set_ylabel("microseconds of CPU")
    axis.set_ylim(0, 50)
    axis.grid(axis="y", color="0.9")
    axis.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)
    save(figure, "costs.png")
