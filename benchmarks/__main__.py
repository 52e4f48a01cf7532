"""`hatch run bench`: Scaler and others, measured in turns in one run, as medians and ratios."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.measures import MEASURES, SWEEP, Measure
from benchmarks.one import COLD_START
from benchmarks.peers import OTHERS, OURS, ROOT, STANDARD, Peer
from benchmarks.pictures import draw
from benchmarks.results import Results, machine

WORKERS = 2
CHILD_SECONDS = 600
SCALE_UP_PEERS = ("Dask", "Scaler 1.15")


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
    if not arguments.only or arguments.only in "scale-up":
        _measure_scale_up(peers, results)
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


def _measure_scale_up(peers: tuple[Peer, ...], results: Results) -> None:
    for peer in peers:
        for workers in (8, 64) if peer is OURS else (8,) if peer.name in SCALE_UP_PEERS else ():
            for said in _child(peer, "benchmarks.scale_up", peer.name, str(workers)):
                moment = f"{said['measure']}, {said['unit']}"
                results.scale_up.setdefault(moment, {})[peer.name] = said["figure"]


def _child(peer: Peer, *arguments: str) -> Iterator[dict]:
    """Run a module of ours under the peer's Python; what it cannot measure is said and left out."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
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
