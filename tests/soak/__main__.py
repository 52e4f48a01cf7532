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
from tests.soak.matrix import CELLS, run_cell


def main() -> int:
    """Return 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=5000, help="of each client (default: %(default)s)")
    parser.add_argument("--cell", help="only cells whose name contains this, for example 'scheduler SIGKILL'")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first one (default: the time)")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    cells = [cell for cell in CELLS if not arguments.cell or arguments.cell in cell.name]
    runs: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    seed, cast = arguments.seed, Cast()
    cast.start()
    while time.monotonic() < until:
        for cell in Random(seed).sample(cells, len(cells)):
            seed += 1
            began = time.monotonic()
            try:
                outcomes.update(run_cell(cast, cell, arguments.tasks, seed))
                runs[cell.name] += 1
                print(f"{cell.name:24} seed {seed} {time.monotonic() - began:6.1f} s", flush=True)
            except Exception:  # noqa: BLE001 - that is what is looked for
                failures[cell.name] += 1
                print(f"FAILED {cell.name}, seed {seed}:\n{traceback.format_exc()}", flush=True)
                _tell(cast)
                cast.kill()
                cast = Cast()
                cast.start()
            if time.monotonic() >= until:
                break
    try:
        cast.stop()
    except AssertionError:
        failures["the end"] += 1
        traceback.print_exc(file=sys.stdout)
    for cell in cells:
        print(f"{runs[cell.name]:5} runs, {failures[cell.name]} failures: {cell.name}")
    print(f"{sum(runs.values())} runs, {sum(failures.values())} failures; outcomes of tasks: {dict(outcomes)}")
    return 1 if failures else 0


def _tell(cast: Cast) -> None:
    """Show the last lines of everybody."""
    for part, command in cast.command_of.items():
        print(f"---- {part}")
        print("\n".join(command.lines[-30:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
