"""Measures real runs and draws the pictures of the documentation again: all, or those named.

python -m docs.plots [scaling] [policies] [durations] [costs]
"""

import sys

from docs.plots import costs, durations, policies, scaling

PLOTS = {"scaling": scaling.main, "policies": policies.main, "durations": durations.main, "costs": costs.main}


def main(names: list[str]) -> None:
    """Draw."""
    for name in names or PLOTS:
        PLOTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
