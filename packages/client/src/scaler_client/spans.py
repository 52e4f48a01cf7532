"""A set of task numbers kept as spans; adding says what is new, so that nothing is delivered twice."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Span = tuple[int, int]
"""Tasks from the first number up to, not with, the second."""


class Spans:
    """Sorted, disjoint and never touching."""

    __slots__ = ("_starts", "_stops", "size")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.size = 0
        """How many numbers are in the set."""

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._stops, strict=True)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def add(self, start: int, stop: int) -> list[Span]:
        """Add [start, stop) and return those parts of it that were not in the set."""
        if self._stops and self._stops[-1] == start:  # the usual case: each right after the one before
            self._stops[-1] = stop
            self.size += stop - start
            return [(start, stop)]
        if not self._stops or self._stops[-1] < start:
            self._starts.append(start)
            self._stops.append(stop)
            self.size += stop - start
            return [(start, stop)]
        low, high = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if low == high:
            self._starts.insert(low, start)
            self._stops.insert(low, stop)
            self.size += stop - start
            return [(start, stop)]
        fresh: list[Span] = []
        reached = start
        for at in range(low, high):
            if reached < self._starts[at]:
                fresh.append((reached, self._starts[at]))
            reached = max(reached, self._stops[at])
        if reached < stop:
            fresh.append((reached, stop))
        self._starts[low:high] = [min(start, self._starts[low])]
        self._stops[low:high] = [max(stop, self._stops[high - 1])]
        self.size += sum(end - begin for begin, end in fresh)
        return fresh

    def missing(self, count: int) -> list[Span]:
        """Return the spans of [0, count) that are not in the set."""
        edges = [0, *(edge for span in self for edge in span), count]
        return [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]
