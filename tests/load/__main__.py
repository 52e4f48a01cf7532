"""Many clients and workers for as long as wanted, while some come and go: `python -m tests.load --minutes 10`.

Prints throughput, memory and descriptors over time, and says of each whether it is flat. Ends with 1 where one is not,
or where somebody failed.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from tests.load.crowd import Crowd
from tests.load.figures import Figures, take
from tests.load.verdict import Verdict, judge

FOLDER = Path(__file__).parents[2] / "dist"
SAMPLES = 120
_SHOWN = 12
_MEMORY_SHARE, _MEMORY_FLOOR_MIB = 0.10, 4.0
_FILES_SHARE, _FILES_FLOOR = 0.10, 4.0
_LOSS_SHARE = 0.25
"""Throughput depends on what else the machine does."""


@dataclass(frozen=True)
class Change:
    """What comes and goes, every so many seconds."""

    name: str
    seconds: float
    make: Callable[[Crowd], str]


CHANGES = (
    Change("workers killed", 2.0, Crowd.kill_worker),
    Change("clients replaced", 5.0, Crowd.replace_client),
    Change("adapters replaced", 15.0, Crowd.replace_adapter),
)


def main() -> int:
    """Return 1 where something grows, or somebody failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="how many (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=50, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="of all choices (default: the time)")
    arguments = parser.parse_args()
    began = time.strftime("%Y%m%d-%H%M%S")
    print(f"seed {arguments.seed}", flush=True)
    figures, made = run(arguments.clients, arguments.workers, 60 * arguments.minutes, arguments.seed)
    verdicts = judge_all(figures)
    text = report(figures, verdicts, made)
    title = f"# Load of {began}: {arguments.clients} clients, {arguments.workers} workers, seed {arguments.seed}\n\n"
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"load-{began}.md"
    path.write_text(title + text + "\n")
    path.with_suffix(".jsonl").write_text("".join(f"{json.dumps(asdict(one))}\n" for one in figures))
    print(f"{text}\nwritten to {path}")
    return 0 if all(verdict.is_flat for verdict in verdicts) else 1


def run(clients: int, workers: int, seconds: float, seed: int, pace: float = 1.0) -> tuple[list[Figures], Counter[str]]:
    """Return figures over time, and what came and went, `pace` times as often as `CHANGES` says.

    Raises `AssertionError` where somebody failed.
    """
    crowd = Crowd(clients, workers, seed)
    try:
        found = _observe(crowd, seconds, pace)
        crowd.stop()
    finally:
        crowd.kill()
    return found


def _observe(crowd: Crowd, seconds: float, pace: float) -> tuple[list[Figures], Counter[str]]:
    figures: list[Figures] = []
    made: Counter[str] = Counter()
    began = time.monotonic()
    due = {change: began + change.seconds / pace for change in CHANGES}
    sample_at = began
    while (now := time.monotonic()) < began + seconds or len(made) < len(CHANGES):  # each at least once
        if now >= sample_at:
            figures.append(take(crowd, now - began))
            sample_at += seconds / SAMPLES
        for change in CHANGES:
            if now >= due[change]:
                change.make(crowd)
                made[change.name] += 1
                due[change] = now + change.seconds / pace
        crowd.assert_well()
        time.sleep(max(0.0, min(sample_at, *due.values()) - time.monotonic()))
    figures.append(take(crowd, time.monotonic() - began))
    return figures, made


def judge_all(figures: Sequence[Figures]) -> list[Verdict]:
    """Judge everything that must not change over time."""

    def series(name: str) -> list[tuple[float, float]]:
        return [(one.seconds, getattr(one, name)) for one in figures]

    memory = [
        judge(name, series(name), share=_MEMORY_SHARE, floor=_MEMORY_FLOOR_MIB)
        for name in Figures.__dataclass_fields__
        if name.endswith(("_pss", "_rss", "_mib"))
    ]
    files = [
        judge(name, series(name), share=_FILES_SHARE, floor=_FILES_FLOOR)
        for name in Figures.__dataclass_fields__
        if name.endswith("_files")
    ]
    return [judge("tasks per second", _rates(figures), share=_LOSS_SHARE, falls=True), *memory, *files]


def _rates(figures: Sequence[Figures]) -> list[tuple[float, float]]:
    return [
        (later.seconds, (later.tasks - earlier.tasks) / (later.seconds - earlier.seconds))
        for earlier, later in pairwise(figures)
    ]


def report(figures: Sequence[Figures], verdicts: Sequence[Verdict], made: Counter[str]) -> str:
    """Return two Markdown tables: figures over time, and what is said of each."""
    names = list(Figures.__dataclass_fields__)
    step = max(1, (len(figures) - 1) // _SHOWN)
    shown = [*figures[::step], *([figures[-1]] if (len(figures) - 1) % step else [])]
    lines = [_row(names), _row(["---:"] * len(names))]
    lines += [_row([f"{getattr(one, name):.1f}".removesuffix(".0") for name in names]) for one in shown]
    lines += ["", _row(["figure", "median", "change by the slope", "allowed", "verdict"])]
    lines += [_row(["---", "---:", "---:", "---:", "---"])]
    for verdict in verdicts:
        change = f"{-verdict.change if verdict.name == 'tasks per second' else verdict.change:+.1f}"
        lines.append(_row([verdict.name, f"{verdict.median:.1f}", change, f"{verdict.allowed:.1f}", verdict.text]))
    seconds = figures[-1].seconds
    total = f"{figures[-1].tasks} tasks in {seconds:.0f} seconds, {figures[-1].tasks / seconds:.0f} a second"
    lines += ["", f"{total}; {', '.join(f'{count} {name}' for name, count in made.items())}"]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
