"""Finds good parameters for a classifier of handwritten digits: a grid search whose fits run through `client.map`.

The images are stored once and shared by all tasks. At the end scikit-learn's own search, in this process, has to find
the same. Needs scikit-learn.
"""

import sys
import time
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.svm import SVC

from scaler import Client, SchedulerClusterCombo

N_WORKERS = 2
N_FOLDS = 5
N_SHOWN = 5
GRID = {"C": [1.0, 10.0, 100.0], "gamma": [0.0005, 0.001, 0.005]}

Parameters = dict[str, float]
Data = tuple[NDArray[np.float64], NDArray[np.int64]]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def fit_and_score(data: Data, parameters: Parameters, fold: Fold) -> float:
    """Return the share of the fold's test images that a classifier fitted to its other images names right."""
    images, digits = data
    train, test = fold
    model = SVC(**parameters).fit(images[train], digits[train])
    return float(model.score(images[test], digits[test]))


def search(data: Data, candidates: Sequence[Parameters], folds: Sequence[Fold], console: Console) -> list[float]:
    """Return the mean score of each candidate; every fit of a fold is a task."""
    with SchedulerClusterCombo(N_WORKERS, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        stored = client.send_object(data, name="digits")
        scores = [
            client.map(fit_and_score, [stored] * len(candidates), candidates, [fold] * len(candidates))
            for fold in track(folds, "fitting", console=console)
        ]
    return [fmean(of_candidate) for of_candidate in zip(*scores, strict=True)]


def main() -> int:
    """Search in both ways; 0 when they agree."""
    console = Console()
    images, digits = load_digits(return_X_y=True)
    candidates = list(ParameterGrid(GRID))
    folds = list(StratifiedKFold(N_FOLDS).split(images, digits))
    console.print(f"{len(candidates)} candidates, {N_FOLDS} folds, {len(images)} images, {N_WORKERS} workers")
    began_at = time.monotonic()
    scores = search((images, digits), candidates, folds, console)
    seconds = time.monotonic() - began_at

    table = Table("C", "gamma", "right")
    for score, parameters in sorted(zip(scores, candidates, strict=True), key=lambda pair: -pair[0])[:N_SHOWN]:
        table.add_row(f"{parameters['C']:g}", f"{parameters['gamma']:g}", f"{score:.2%}")
    console.print(table)

    began_at = time.monotonic()
    alone = GridSearchCV(SVC(), GRID, cv=folds).fit(images, digits)
    console.print(f"{seconds:.1f} s on workers, {time.monotonic() - began_at:.1f} s within this process")
    if not np.allclose(scores, alone.cv_results_["mean_test_score"]):
        console.print("[red]The two searches found different scores.[/red]")
        return 1
    console.print("Both searches found the same.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
