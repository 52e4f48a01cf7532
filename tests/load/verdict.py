"""Whether a series of figures is flat: by the median of all slopes between two of them (Theil and Sen), not by eye."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

WARM_UP_SHARE = 0.25
LEAST_SAMPLES = 10
"""Fewer, after the warm-up, tell nothing."""


@dataclass(frozen=True)
class Verdict:
    """`change` is by how much the slope changes the figure in the time that counts."""

    name: str
    median: float
    change: float
    allowed: float
    is_known: bool

    @property
    def is_flat(self) -> bool:
        """Whether the change is within what is allowed; true where there is too little to tell."""
        return not self.is_known or self.change <= self.allowed

    @property
    def text(self) -> str:
        """One word for it."""
        return ("flat" if self.is_flat else "NOT FLAT") if self.is_known else "too short to tell"


def judge(
    name: str,
    series: Sequence[tuple[float, float]],
    *,
    share: float,
    floor: float = 0.0,
    falls: bool = False,
) -> Verdict:
    """Judge (seconds, figure) pairs: growth, or with `falls` the loss, up to a share of the median, or `floor`."""
    end = series[-1][0] if series else 0.0
    counted = [(at, figure) for at, figure in series if at >= WARM_UP_SHARE * end]
    if len(counted) < LEAST_SAMPLES:
        return Verdict(name, 0.0, 0.0, 0.0, is_known=False)
    median = statistics.median(figure for _, figure in counted)
    slope = statistics.median(
        (later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(counted, 2)
    )
    change = slope * (counted[-1][0] - counted[0][0])
    return Verdict(name, median, -change if falls else change, max(share * median, floor), is_known=True)
