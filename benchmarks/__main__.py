"""`hatch run bench`: Scaler and others, measured in turns in one run, as medians and ratios."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.measures import MEASURES, SWEEP, WORKERS, Measure
from benchmarks.one import COLD_START
from benchmarks.peers import OTHERS, ROOT, STANDARD, Peer
from benchmarks.pictures import draw
from benchmarks.results import Results, machine

CHILD_SECONDS = 600


@dataclass(frozen=True)
class Run:
    """A longer measurement by a module of its own, made once: which systems take part, each with which arguments."""

    title: str
    module: str
    systems: tuple[tuple[str, tuple[str, ...]], ...]


RUNS = (
    Run(
        "scale-up from no worker",
        "benchmarks.scale_up",
        (("Scaler", ("8",)), ("Scaler", ("64",)), ("Dask", ("8",)), ("Scaler 1.15", ("8",))),
    ),
    Run("balance", "benchmarks.balance", tuple((name, ()) for name in ("Scaler", "PPE", "loky", "Dask", "Ray"))),
    Run("a map of 10,000,000 items from a generator", "benchmarks.streaming", (("Scaler", ()),)),
)


def main() -> None:
    """Measure, print the tables, draw the pictures."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="also measure loky, Dask, Ray and Scaler 1.15")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="measures whose name contains this")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "dist" / "benchmarks", help="for results.json and pictures"
    )
    arguments = parser.parse_args()
    console, results = Console(), Results()
    peers = (*STANDARD, *OTHERS) if arguments.peers else STANDARD
    console.print(machine())
    for repeat in range(arguments.repeats):
        for peer in peers:
            _measure(peer, _wanted(MEASURES, peer, arguments.only), results)
            _measure_cold_start(peer, arguments.only, results)
            if repeat == 0:
                _measure(peer, _wanted(SWEEP, peer, arguments.only), results)
    for run in RUNS:
        if arguments.only in run.title:
            _measure_run(run, peers, results)
    systems = [peer.name for peer in peers]
    for grid in results.tables(systems):
        console.print(grid.rich())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results.write(arguments.folder, systems)
    for path in draw(results, systems, arguments.folder):
        console.print(f"drawn: {path}")


def _wanted(measures: tuple[Measure, ...], peer: Peer, only: str) -> list[str]:
    return [m.name for m in measures if only in m.name and (not m.only or peer.name in m.only)]


def _measure(peer: Peer, names: list[str], results: Results) -> None:
    if names:
        for said in _child(peer, "benchmarks.one", peer.name, str(WORKERS), *names):
            if said["measure"] != COLD_START:
                results.add(said["measure"], peer.name, said["figure"])


def _measure_cold_start(peer: Peer, only: str, results: Results) -> None:
    if only in COLD_START and "chunksize" not in peer.name:
        began = time.monotonic()
        for said in _child(peer, "benchmarks.one", peer.name, str(WORKERS), COLD_START):
            results.add(COLD_START, peer.name, said["figure"] - began)


def _measure_run(run: Run, peers: tuple[Peer, ...], results: Results) -> None:
    by_name = {peer.name: peer for peer in peers}
    for name, arguments in run.systems:
        for said in _child(by_name[name], run.module, name, *arguments) if name in by_name else ():
            figure = f"{said['measure']}, {said['unit']}"
            results.runs.setdefault(run.title, {}).setdefault(figure, {})[name] = said["figure"]


def _child(peer: Peer, *arguments: str) -> Iterator[dict]:
    """Run a module of ours under the peer's Python; what it cannot measure is said and left out."""
    # What is installed has been compiled; so shall be what is measured from a checkout, from its second run on.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    command = [*peer.command(), "-m", *arguments]
    process = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=CHILD_SECONDS, check=False, cwd=ROOT, env=environment
    )
    if process.returncode:
        print(f"{peer.name} ended with {process.returncode}: {' '.join(command)}", file=sys.stderr)
    for line in process.stdout.splitlines():
        if line.startswith('{"measure"'):
            yield json.loads(line)


if __name__ == "__main__":
    main()
