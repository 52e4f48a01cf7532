"""The results as pictures (PNG)."""

from pathlib import Path

import matplotlib as mpl

from benchmarks.measures import SWEEP_SECONDS
from benchmarks.results import Results


def draw(results: Results, systems: list[str], folder: Path) -> list[Path]:
    """Draw what was measured and return the files."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if any(name.startswith("efficiency") for name in results.samples):
        drawn.append(_efficiency(results, systems, folder / "efficiency.png"))
    if "map" in results.samples:
        drawn.append(_rates(results, systems, folder / "rates.png"))
    return drawn


def _efficiency(results: Results, systems: list[str], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for system in systems:
        points = [(s, results.median(f"efficiency {s:g}", system)) for s in SWEEP_SECONDS]
        known = [(seconds, figure) for seconds, figure in points if figure is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker="o", label=system, linewidth=2.5 if system == "Scaler" else 1.2)
    axes.set(xscale="log", xlabel="length of a task, s", ylabel="useful work / (wall x cores)", ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _rates(results: Results, systems: list[str], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    rates = {system: results.median("map of 1,000,000", system) or results.median("map", system) for system in systems}
    known = {system: rate for system, rate in rates.items() if rate}
    axes.barh(list(known), list(known.values()), color=["C1" if system == "Scaler" else "C0" for system in known])
    axes.set(xscale="log", xlabel="trivial tasks a second, by one map")
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
