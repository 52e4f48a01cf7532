"""What a soak came to: a table of runs and failures for each cell, and every run with its seed."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.soak.matrix import Cell, Run

FOLDER = Path(__file__).parents[2] / "dist"


def table(cells: Sequence[Cell], runs: Sequence[Run]) -> str:
    """Return a Markdown table, a line for each cell."""
    lines = ["| cell | runs | failures | noticed as stopped | tasks right | tasks failed as allowed | median seconds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for cell in cells:
        mine = [run for run in runs if run.cell.name == cell.name]
        outcomes = _outcomes(mine)
        right = outcomes.pop("right", 0)
        seconds = f"{statistics.median(run.seconds for run in mine):.1f}" if mine else ""
        failures = sum(bool(run.failure) for run in mine)
        noticed = sum(run.noticed for run in mine)
        lines.append(
            f"| {cell.name} | {len(mine)} | {failures} | {noticed} | {right} | {sum(outcomes.values())} | {seconds} |"
        )
    failures = sum(bool(run.failure) for run in runs)
    lines.append(f"\n{len(runs)} runs, {failures} failures; outcomes of tasks: {dict(_outcomes(runs))}")
    return "\n".join(lines)


def write(cells: Sequence[Cell], runs: Sequence[Run], began: str, options: str) -> Path:
    """Write `dist/soak-<when>.md` and, with a line for each run, `.jsonl`; returns the first."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"soak-{began}.md"
    failed = [f"\n## {run.cell.name}, {repeat(run)}\n\n```\n{run.failure}\n```" for run in runs if run.failure]
    path.write_text("\n".join([f"# Soak of {began}, {options}\n", table(cells, runs), *failed, ""]))
    path.with_suffix(".jsonl").write_text("".join(f"{json.dumps(_line(run))}\n" for run in runs))
    return path


def repeat(run: Run) -> str:
    """Return the command that does it again."""
    return f'hatch run soak --cell "{run.cell.name}" --seed {run.seed} --runs 1'


def _line(run: Run) -> dict[str, object]:
    return {
        "cell": run.cell.name,
        "seed": run.seed,
        "hits": run.hits,
        "seconds": round(run.seconds, 2),
        "noticed": run.noticed,
        "outcomes": run.outcomes,
        "failure": run.failure,
    }


def _outcomes(runs: Sequence[Run]) -> Counter[str]:
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.outcomes)
    return total
