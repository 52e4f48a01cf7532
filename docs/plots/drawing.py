"""Draws runs: a column for each, unfinished tasks above workers."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from docs.plots.stack import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[1] / "images"
_COLORS = ("tab:blue", "tab:green", "tab:red")
_TASK_COLORS = ("tab:orange", "tab:purple")


def prepare() -> None:
    """Set what all pictures have in common."""
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    IMAGES.mkdir(exist_ok=True)


def draw_runs(runs: "Mapping[str, Run]", name: str, *, are_alike: bool = True) -> None:
    """Draw runs by their titles into a picture; runs that are alike have the same times and numbers of tasks."""
    prepare()
    figure, axes = plt.subplots(
        2, len(runs), sharex="all" if are_alike else "col", figsize=(10, 4), layout="constrained"
    )
    most_tasks = max(max(values) for run in runs.values() for values in run.tasks.values())
    most_workers = max(max(values) for run in runs.values() for values in run.workers.values())
    for column, (title, run) in enumerate(runs.items()):
        draw_curves(axes[0][column], run.seconds, run.tasks, _TASK_COLORS)
        draw_curves(axes[1][column], run.seconds, run.workers, _COLORS)
        axes[0][column].set_title(title, family="monospace", size=8)
        axes[0][column].set_ylim(0, 1.08 * most_tasks if are_alike else None)
        axes[1][column].set_ylim(0, 1.08 * most_workers)
        end = max(other.seconds[-1] for other in (runs.values() if are_alike else (run,)))
        axes[1][column].set_xlim(-0.03 * end, 1.02 * end)
        axes[1][column].set_xlabel("seconds")
        axes[1][column].yaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("unfinished tasks")
    axes[1][0].set_ylabel("workers")
    save(figure, name)


def draw_curves(axis: "Axes", seconds: list[float], curves: "Mapping[str, list[int]]", colors: tuple[str, ...]) -> None:
    """Draw curves that are filled below, with a legend if there are several."""
    for (label, values), color in zip(curves.items(), colors, strict=False):
        axis.step(seconds, values, where="post", color=color, linewidth=1.2, label=label)
        axis.fill_between(seconds, values, step="post", color=color, alpha=0.15)
    axis.grid(axis="y", color="0.9")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if len(curves) > 1:
        axis.legend(frameon=False, fontsize=8)


def save(figure: "Figure", name: str) -> None:
    """Write a picture that is the same for the same figures."""
    figure.savefig(IMAGES / name, dpi=150, metadata={"Software": None})
    plt.close(figure)
