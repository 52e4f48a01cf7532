"""A child of the benchmark: starts one system, takes some measures on it, prints each figure as a line of JSON.

python -m benchmarks.one SYSTEM WORKERS MEASURE [MEASURE ...]
"""

import json
import sys
import time

from benchmarks import tasks
from benchmarks.measures import MEASURES, SWEEP
from benchmarks.systems.system import start

COLD_START = "cold start"


def main() -> None:
    """Measure and print, also the moment of the first result: who started this process knows when that was."""
    system_name, workers, *names = sys.argv[1:]
    system = start(system_name, int(workers))
    try:
        system.submit(tasks.increment, 1).result()
        _say(COLD_START, time.monotonic())
        if COLD_START not in names:
            _warm_up(system)
        for measure in (*MEASURES, *SWEEP):
            if measure.name in names:
                _say(measure.name, measure.run(system))
    finally:
        system.close()


def _warm_up(system) -> None:
    for future in [system.submit(tasks.increment, number) for number in range(100)]:
        future.result()


def _say(name: str, figure: float) -> None:
    print(json.dumps({"measure": name, "figure": figure}), flush=True)


if __name__ == "__main__":
    main()
