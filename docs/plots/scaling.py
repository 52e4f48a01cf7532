"""Draws docs/images/scaling.png: tasks and workers over time under three scaling policies, measured on real commands.

python -m docs.plots.scaling
"""

import sys
import threading
import time
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import psutil
from matplotlib import pyplot as plt

from examples.word_count import command, listening_address
from scaler import Client, ScalerFuture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[1] / "images" / "scaling.png"
SCALING = ("vanilla(cooldown=3)", "vanilla(upper=1,cooldown=3)", "backlog(target=2,cooldown=3)")
MAX_WORKERS = 8
WAVES = ((0.0, 40, 0.5), (16.0, 8, 1.5))
"""When tasks are submitted, how many, and how many seconds each takes."""
SETTLING_SECONDS = 11.0
"""A new scheduler stops no worker in its first 10 seconds; the picture begins after that."""
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass
class Run:
    """What was seen: seconds, unfinished tasks, workers."""

    seconds: list[float] = field(default_factory=list[float])
    tasks: list[int] = field(default_factory=list[int])
    workers: list[int] = field(default_factory=list[int])


class Observer(threading.Thread):
    """Looks at the futures and at the adapter's processes until it is told to stop."""

    def __init__(self, adapter_pid: int) -> None:
        super().__init__(daemon=True)
        self.run_seen = Run()
        self.futures: list[ScalerFuture] = []
        self.began_at = time.monotonic()
        self._adapter = psutil.Process(adapter_pid)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look at regular times."""
        while not self._stopping.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Write down one moment."""
        self.run_seen.seconds.append(time.monotonic() - self.began_at)
        self.run_seen.tasks.append(sum(not future.done() for future in list(self.futures)))
        # The adapter's child forks the workers: they are its grandchildren.
        workers = len(self._adapter.children(recursive=True)) - len(self._adapter.children())
        self.run_seen.workers.append(workers)

    def stop(self) -> Run:
        """Return all that was seen."""
        self._stopping.set()
        self.join()
        return self.run_seen


def main() -> int:
    """Measure and draw."""
    runs = {scaling: measure(f"allocate=even_load; scaling={scaling}") for scaling in SCALING}
    PICTURE.parent.mkdir(exist_ok=True)
    draw(runs)
    return 0


def measure(policy: str) -> Run:
    """Submit the waves to a scheduler with one native adapter, and watch until the last worker has gone."""
    with command("scaler_scheduler", "tcp://127.0.0.1:0", "--policy-content", policy) as scheduler:
        address = listening_address(scheduler)
        with (
            command("scaler_worker_adapter_native", address, "--max-workers", str(MAX_WORKERS)) as adapter,
            Client(address) as client,
        ):
            time.sleep(SETTLING_SECONDS)
            observer = Observer(adapter.pid)
            observer.start()
            for at_seconds, tasks, task_seconds in WAVES:
                time.sleep(max(0.0, observer.began_at + at_seconds - time.monotonic()))
                observer.futures += [client.submit(time.sleep, task_seconds) for _ in range(tasks)]
            wait(observer.futures)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while observer.run_seen.workers[-1] > 0:
                if time.monotonic() > deadline:
                    raise TimeoutError("the workers do not go")
                time.sleep(LOOK_SECONDS)
            return observer.stop()


def draw(runs: dict[str, Run]) -> None:
    """Draw a column for each run, tasks above workers."""
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, len(runs), sharex=True, sharey="row", figsize=(10, 4), layout="constrained")
    for column, (scaling, run) in enumerate(runs.items()):
        draw_steps(axes[0][column], run.seconds, run.tasks, "tab:orange")
        draw_steps(axes[1][column], run.seconds, run.workers, "tab:blue")
        axes[0][column].set_title(scaling, family="monospace", size=9)
        axes[1][column].set_xlabel("seconds")
    axes[0][0].set_ylabel("unfinished tasks")
    axes[1][0].set_ylabel("workers")
    axes[1][0].set_yticks(range(0, MAX_WORKERS + 1, 2))
    axes[1][0].set_ylim(0, MAX_WORKERS + 1)
    figure.savefig(PICTURE, dpi=150, metadata={"Software": None})


def draw_steps(axis: "Axes", seconds: list[float], values: list[int], color: str) -> None:
    """Draw one curve that is filled below."""
    axis.step(seconds, values, where="post", color=color, linewidth=1.2)
    axis.fill_between(seconds, values, step="post", color=color, alpha=0.15)
    axis.grid(axis="y", color="0.9")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=-1)


if __name__ == "__main__":
    sys.exit(main())
