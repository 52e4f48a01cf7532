"""Hits one process after the other for as long as wanted: `python -m tests.soak --minutes 30`.

Every cell of the table of failures has its turn again and again, each time with other tasks and at another moment. Ends
with 1 where a promise was not kept.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from random import Random

from tests.soak.cast import Cast
from tests.soak.matrix import CELLS, Cell, run_cell


def main() -> int:
    """Return 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=5000, help="of each client (default: %(default)s)")
    parser.add_argument("--cell", help="only cells whose name contains this, for example 'scheduler SIGKILL'")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first one (default: the time)")
    arguments = parser.parse_args()
    soak = Soak(arguments.tasks, arguments.seed)
    cells = [cell for cell in CELLS if not arguments.cell or arguments.cell in cell.name]
    try:
        soak.run(cells, time.monotonic() + 60 * arguments.minutes)
    finally:
        soak.cast.kill()
    for cell in cells:
        print(f"{soak.runs[cell.name]:5} runs, {soak.failures[cell.name]} failures: {cell.name}")
    failures = sum(soak.failures.values())
    print(f"{sum(soak.runs.values())} runs, {failures} failures; outcomes of tasks: {dict(soak.outcomes)}")
    return 1 if failures else 0


class Soak:
    """Counts what happens; a cast in which something went wrong is replaced."""

    def __init__(self, tasks: int, seed: int) -> None:
        self.runs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.cast = Cast()
        self._tasks = tasks
        self._seed = seed

    def run(self, cells: list[Cell], until: float) -> None:
        """Give every cell its turn again and again, then end in order."""
        self.cast.start()
        while time.monotonic() < until:
            for cell in Random(self._seed).sample(cells, len(cells)):
                if time.monotonic() < until:
                    self._turn(cell)
        try:
            self.cast.stop()
        except AssertionError:
            self._fail("the end")

    def _turn(self, cell: Cell) -> None:
        self._seed += 1
        began = time.monotonic()
        try:
            self.outcomes.update(run_cell(self.cast, cell, self._tasks, self._seed))
        except Exception:  # noqa: BLE001 - that is what is looked for
            self._fail(cell.name)
            self.cast.kill()
            self.cast = Cast()
            self.cast.start()
        else:
            self.runs[cell.name] += 1
            print(f"{cell.name:24} seed {self._seed} {time.monotonic() - began:6.1f} s", flush=True)

    def _fail(self, name: str) -> None:
        """Say what went wrong, and show the last lines of everybody."""
        self.failures[name] += 1
        print(f"FAILED {name}, seed {self._seed}:\n{traceback.format_exc()}")
        for part, command in self.cast.command_of.items():
            print(f"---- {part}\n" + "\n".join(command.lines[-30:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
