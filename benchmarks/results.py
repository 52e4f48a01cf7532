"""Figures as they come in, and the table and files that are made of them."""

import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.table import Table

from benchmarks.measures import MEASURES, SWEEP_SECONDS, Measure

COLD = Measure("cold start", "s", lambda _: 0.0, "less", 0.4, is_ratio=False)
ROWS = (*MEASURES, COLD)
POOL = "PPE"


@dataclass
class Grid:
    """A table, for the terminal or for a page."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def rich(self) -> Table:
        table = Table(*self.head, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass
class Results:
    """Samples by measure and system, and the figures of longer runs: by the run's title, figure and system."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    runs: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def add(self, measure: str, system: str, figure: float) -> None:
        self.samples.setdefault(measure, {}).setdefault(system, []).append(figure)

    def median(self, measure: str, system: str) -> float | None:
        figures = self.samples.get(measure, {}).get(system)
        return statistics.median(figures) if figures else None

    # ---- tables

    def tables(self, systems: list[str]) -> list[Grid]:
        """Return what there is: medians, the sweep of task lengths, the longer runs."""
        grids = [self._medians(systems), self._sweep(systems), *(self._run(title) for title in self.runs)]
        return [grid for grid in grids if grid.rows]

    def _medians(self, systems: list[str]) -> Grid:
        rows = [
            [f"{row.name}, {row.unit}", *(self._cell(row.name, system) for system in systems), *self._verdict(row)]
            for row in ROWS
            if row.name in self.samples
        ]
        return Grid("medians (lowest .. highest)", ["measure", *systems, "to reach", "reached"], rows)

    def _sweep(self, systems: list[str]) -> Grid:
        rows = [
            [f"{seconds:g}", *(self._cell(f"efficiency {seconds:g}", system) for system in systems)]
            for seconds in SWEEP_SECONDS
            if f"efficiency {seconds:g}" in self.samples
        ]
        return Grid("efficiency: useful work / (wall x cores)", ["task length, s", *systems], rows)

    def _run(self, title: str) -> Grid:
        found = self.runs[title]
        systems = list(dict.fromkeys(system for figures in found.values() for system in figures))
        rows = [
            [name, *(_short(figures[s]) if s in figures else "" for s in systems)] for name, figures in found.items()
        ]
        return Grid(title, ["figure", *systems], rows)

    def _cell(self, measure: str, system: str) -> str:
        figures = self.samples.get(measure, {}).get(system, [])
        if not figures:
            return ""
        middle = _short(statistics.median(figures))
        return middle if len(figures) == 1 else f"{middle} ({_short(min(figures))} .. {_short(max(figures))})"

    def _verdict(self, row: Measure) -> tuple[str, str]:
        mine = self.median(row.name, "Scaler")
        if row.target is None or mine is None:
            return "", ""
        sign = ">=" if row.better == "more" else "<="
        if not row.is_ratio:
            return f"{sign} {row.target:g}", _yes(mine, row.target, row.better)
        # The pool's rate does not depend on how many items there are: a million would take it minutes.
        theirs = self.median(row.name, POOL) or self.median("map", POOL)
        wanted = f"{sign} {row.target:g} x {POOL}"
        if theirs is None:
            return wanted, ""
        return wanted, f"{_yes(mine / theirs, row.target, row.better)}: {mine / theirs:.3g} x"

    # ---- files

    def write(self, folder: Path, systems: list[str]) -> None:
        """Write all samples as JSON, and the tables in Markdown, with what is known of the machine."""
        content = {"machine": machine(), "samples": self.samples, "runs": self.runs}
        (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
        parts = [machine(), *(grid.markdown() for grid in self.tables(systems))]
        (folder / "results.md").write_text("\n\n".join(parts) + "\n")


def machine() -> str:
    """Return in one line what was measured on, and how busy it was with other things."""
    load = os.getloadavg()[0]
    memory = psutil.virtual_memory().total / (1 << 30)
    cores = f"{os.cpu_count()} cores, {memory:.0f} GiB, load {load:.1f}"
    return f"{platform.platform()}, Python {platform.python_version()}, {cores}"


def _yes(figure: float, target: float, better: str) -> str:
    return "yes" if (figure >= target if better == "more" else figure <= target) else "no"


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
