"""Prices a European call option by simulating share prices, and compares with the formula of Black and Scholes.

Each task draws its own independent random numbers; the result is the same however many workers there are.
"""

import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from rich.console import Console
from rich.progress import track

from scaler import Client, SchedulerClusterCombo

N_WORKERS = 2
N_TASKS = 100
PATHS_PER_TASK = 1_000_000
SEED = 20240229
ERRORS_ALLOWED = 4.0
"""In standard errors; a right program is further off once in 16,000 seeds."""


@dataclass(frozen=True)
class Call:
    """The right to buy a share at `strike` in `years`; `rate` and `volatility` are per year."""

    spot: float
    strike: float
    years: float
    rate: float
    volatility: float


def simulate(call: Call, seed: np.random.SeedSequence, paths: int) -> tuple[float, float]:
    """Return the sum of the discounted payoffs and of their squares over pairs of mirrored paths."""
    draws = np.random.default_rng(seed).standard_normal(paths // 2)
    drift = (call.rate - call.volatility**2 / 2) * call.years
    spread = call.volatility * math.sqrt(call.years)
    up, down = (np.maximum(call.spot * np.exp(drift + spread * z) - call.strike, 0.0) for z in (draws, -draws))
    values = (up + down) / 2 * math.exp(-call.rate * call.years)
    return float(values.sum()), float((values**2).sum())


def black_scholes(call: Call) -> float:
    """Return the price by the closed formula (Black and Scholes 1973)."""
    spread = call.volatility * math.sqrt(call.years)
    d1 = (math.log(call.spot / call.strike) + (call.rate + call.volatility**2 / 2) * call.years) / spread
    cdf = NormalDist().cdf
    return call.spot * cdf(d1) - call.strike * math.exp(-call.rate * call.years) * cdf(d1 - spread)


def estimate(sums: Sequence[tuple[float, float]], pairs: int) -> tuple[float, float]:
    """Return the mean and its standard error."""
    mean = sum(total for total, _ in sums) / pairs
    variance = sum(squares for _, squares in sums) / pairs - mean**2
    return mean, math.sqrt(variance / pairs)


def main() -> int:
    """Price one option; 0 when the price is as exact as it should be."""
    console = Console()
    call = Call(spot=100.0, strike=105.0, years=1.0, rate=0.03, volatility=0.25)
    seeds = np.random.SeedSequence(SEED).spawn(N_TASKS)
    with SchedulerClusterCombo(N_WORKERS, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        began_at = time.monotonic()
        futures = [client.submit(simulate, call, seed, PATHS_PER_TASK) for seed in seeds]
        for _ in track(as_completed(futures), "simulating", total=N_TASKS, console=console):
            pass
        price, error = estimate([future.result() for future in futures], N_TASKS * PATHS_PER_TASK // 2)
    seconds = time.monotonic() - began_at
    exact = black_scholes(call)
    console.print(f"{N_TASKS * PATHS_PER_TASK:,} paths in {seconds:.1f} s on {N_WORKERS} workers")
    console.print(f"simulated {price:.5f} ± {error:.5f}, by the formula {exact:.5f}")
    if abs(price - exact) > ERRORS_ALLOWED * error:
        console.print(f"[red]That is more than {ERRORS_ALLOWED:g} standard errors apart.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
