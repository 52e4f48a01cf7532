"""Fuzzes for as long as wanted: `python -m tests.fuzz --minutes 10`. Ends with 1 where something was found.

Says for each finding how to see it again: the name of the target and the seed.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

from tests.fuzz.attacks import ON
from tests.fuzz.cores import SchedulerFuzz, StoreFuzz
from tests.fuzz.parsers import PARSERS
from tests.fuzz.service import Service

_TURN_SECONDS = 1.0
_STEPS = 300

Target = Callable[[int], int]
"""Gets a seed; returns how many inputs it made of it."""


def main() -> int:
    """Return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: %(default)s)")
    parser.add_argument("--target", help="only targets whose name contains this")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first one (default: the time)")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    counts: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    with Service() as service:
        targets = {name: one for name, one in _targets(service) if not arguments.target or arguments.target in name}
        seed = arguments.seed
        while time.monotonic() < until:
            for name, one in targets.items():
                seed = _turn(name, one, seed, counts, findings)
        print(f"honest rounds meanwhile: {service.rounds}")
        growth = {f"socket: {name}": grown for name, grown in service.growth.items()}
    for name in targets:
        grown = f", grew by at most {growth[name] >> 20} MiB" if name in growth else ""
        print(f"{counts[name]:>12,} {name}{grown}")
    print(f"{sum(counts.values()):>12,} inputs, {len(findings)} findings, first seed {arguments.seed}")
    return 1 if findings else 0


def _targets(service: Service) -> Iterator[tuple[str, Target]]:
    for name, parser in PARSERS.items():
        yield f"parser: {name}", lambda seed, parser=parser: parser.try_one(Random(seed)) or 1
    yield "core: scheduler", lambda seed: _run(SchedulerFuzz(seed))
    yield "core: object storage", lambda seed: _run(StoreFuzz(seed))
    for target, attacks in ON.items():
        for attack in attacks:
            yield (
                f"socket: {target} {attack.__name__}",
                lambda seed, target=target, attack=attack: service.attack(target, attack, seed) or 1,
            )


def _run(fuzz: SchedulerFuzz | StoreFuzz) -> int:
    fuzz.run(_STEPS)
    return fuzz.messages


def _turn(name: str, target: Target, seed: int, counts: Counter[str], findings: Counter[str]) -> int:
    """Work on one target for a while; returns the next seed."""
    end = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            counts[name] += target(seed)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            finding = f"{name}: {type(error).__name__} at {where.filename}:{where.lineno}"
            findings[finding] += 1
            if findings[finding] == 1:
                print(f"FOUND {finding}, seed {seed}", flush=True)
                traceback.print_exc(file=sys.stdout)
        seed += 1
        if time.monotonic() >= end:
            return seed


if __name__ == "__main__":
    sys.exit(main())
