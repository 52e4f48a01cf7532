"""`hatch run bench`: every measure on Scaler and on the standard library's pool, interleaved, as medians and ratios."""

import argparse
import platform
import statistics

from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES, Measure
from benchmarks.scaling import scale_up
from benchmarks.systems.process_pool import ProcessPool
from benchmarks.systems.scaler_combo import ScalerCombo

WORKERS = 2
POOL_COUNT_LIMIT = "map of 1,000,000"  # minutes with the pool: taken from its map of 10,000, which is the same rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="measures whose name contains this")
    arguments = parser.parse_args()
    console = Console()
    measures = [measure for measure in MEASURES if arguments.only in measure.name]
    if measures:
        console.print(_table(measures, arguments.repeats))
    if arguments.only in "scale-up":
        console.print(scale_up(workers=8))
    console.print(f"{platform.platform()}, Python {platform.python_version()}, {WORKERS} workers")


def _table(measures: list[Measure], repeats: int) -> Table:
    table = Table("measure", "unit", "Scaler", "spread", "PPE", "spread", "ratio", "to reach", title="medians")
    for measure in measures:
        mine: list[float] = []
        theirs: list[float] = []
        for _ in range(repeats):
            mine.append(_once(measure, ScalerCombo(WORKERS)))
            pool_measure = measure
            if measure.name == POOL_COUNT_LIMIT:
                pool_measure = next(other for other in MEASURES if other.name == "map of 10,000")
            theirs.append(_once(pool_measure, ProcessPool(WORKERS)))
        ratio = statistics.median(mine) / statistics.median(theirs)
        target = "" if measure.target is None else f"{'>=' if measure.better == 'more' else '<='} {measure.target:g}"
        table.add_row(measure.name, measure.unit, *_figures(mine), *_figures(theirs), f"{ratio:.3g}", target)
    return table


def _once(measure: Measure, system: "ScalerCombo | ProcessPool") -> float:
    try:
        system.submit(abs, 1).result()
        return measure.run(system)
    finally:
        system.close()


def _figures(samples: list[float]) -> tuple[str, str]:
    return f"{statistics.median(samples):,.4g}", f"{min(samples):,.4g} .. {max(samples):,.4g}"


if __name__ == "__main__":
    main()
