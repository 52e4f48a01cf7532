"""Hits one process after the other for as long as wanted: `python -m tests.soak --minutes 30`.

Every cell of the table of failures has its turn again and again, each time with other tasks and at another moment. Ends
with 1 where a promise was not kept, and says then how to do the same again.
"""

import argparse
import sys
import time
import traceback
from random import Random

from tests.soak.cast import Cast
from tests.soak.matrix import CELLS, Cell, Run, run_cell
from tests.soak.report import repeat, table, write

MOST_HITS = 3
"""In one run."""


def main() -> int:
    """Return 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--runs", type=int, help="end after so many")
    parser.add_argument("--tasks", type=int, default=5000, help="of each client (default: %(default)s)")
    parser.add_argument("--cell", default="", help="only cells whose name contains this: 'scheduler SIGKILL'")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first one (default: the time)")
    arguments = parser.parse_args()
    began = time.strftime("%Y%m%d-%H%M%S")
    soak = Soak(arguments.tasks, arguments.seed)
    cells = [cell for cell in CELLS if arguments.cell in cell.name]
    try:
        soak.run(cells, time.monotonic() + 60 * arguments.minutes, arguments.runs)
    finally:
        soak.kill()
        options = f"{arguments.tasks} tasks a client, first seed {arguments.seed}"
        path = write(cells, soak.runs, began, options)
    print(table(cells, soak.runs))
    print(f"written to {path}")
    return 1 if any(run.failure for run in soak.runs) else 0


class Soak:
    """Gathers what happens; a cast in which something went wrong is replaced."""

    def __init__(self, tasks: int, seed: int) -> None:
        self.runs: list[Run] = []
        self._casts: dict[bool, Cast] = {}  # with an object storage of its own, and without
        self._tasks = tasks
        self._seed = seed

    def run(self, cells: list[Cell], until: float, most_runs: int | None) -> None:
        """Give every cell its turn again and again, then end in order."""
        order = Random(self._seed)
        while time.monotonic() < until:
            for cell in order.sample(cells, len(cells)):
                if time.monotonic() >= until or len(self.runs) == most_runs:
                    self._stop()
                    return
                self._turn(cell)
        self._stop()

    def kill(self) -> None:
        """End everything, however it stands."""
        for cast in self._casts.values():
            cast.kill()
        self._casts.clear()

    def _turn(self, cell: Cell) -> None:
        began = time.monotonic()
        run = Run(cell, self._seed)
        try:
            run = run_cell(self._cast(own_storage=cell.own_storage), cell, self._tasks, self._seed, MOST_HITS)
        except Exception:  # noqa: BLE001 - that is what is looked for
            run.seconds, run.failure = time.monotonic() - began, traceback.format_exc()
            self._show(run)
            if cell.own_storage in self._casts:
                self._casts.pop(cell.own_storage).kill()
        self.runs.append(run)
        print(f"{cell.name:36} seed {run.seed} {run.hits} hits {run.seconds:6.1f} s", flush=True)
        self._seed += 1

    def _cast(self, *, own_storage: bool) -> Cast:
        if own_storage not in self._casts:
            self._casts[own_storage] = Cast(own_storage=own_storage)
            self._casts[own_storage].start()
        return self._casts[own_storage]

    def _stop(self) -> None:
        """End in order; what is left then is a failure of the last run."""
        for cast in self._casts.values():
            try:
                cast.stop()
            except AssertionError:
                self.runs[-1].failure = f"after it, at the end of all:\n{traceback.format_exc()}"
                self._show(self.runs[-1])

    def _show(self, run: Run) -> None:
        """Say what went wrong, and show the last lines of everybody."""
        print(f"FAILED {run.cell.name}, again by: {repeat(run)}\n{run.failure}")
        cast = self._casts.get(run.cell.own_storage)
        for part, command in ({} if cast is None else cast.command_of).items():
            print(f"---- {part}\n" + "\n".join(command.lines[-30:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
