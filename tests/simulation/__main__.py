"""Runs simulations by command: `python -m tests.simulation --seeds 2000`, or one again with its story: `--seed 17`."""

import argparse
import sys
import time

from tests.simulation.simulation import Broken, Simulation


def main() -> int:
    """Return 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many to run (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="run this one, and tell its story")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    broken, events, began = 0, 0, time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        simulation = Simulation(seed)
        try:
            simulation.run()
        except Exception as error:  # noqa: BLE001 - the others are run all the same
            broken += 1
            print(f"BROKEN seed {seed}: {type(error).__name__}: {error}", flush=True)
        events += simulation.world.events
    seconds = time.monotonic() - began
    print(f"{arguments.seeds} seeds, {broken} broken, {events} events, {seconds:.1f} s")
    return 1 if broken else 0


def _replay(seed: int) -> int:
    simulation = Simulation(seed, traced=True)
    try:
        simulation.run()
    except Broken as error:
        failure = str(error)
    else:
        failure = ""
    finally:
        print("\n".join(simulation.world.trace or []))
    print(f"BROKEN {failure}" if failure else "all well")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
