"""A set of whole numbers kept as disjoint intervals, in order."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Intervals:
    """Half-open intervals [start, stop), sorted, disjoint and never touching."""

    __slots__ = ("_spans", "size")

    def __init__(self, start: int = 0, stop: int = 0) -> None:
        self._spans: list[tuple[int, int]] = [(start, stop)] if start < stop else []
        self.size = stop - start if self._spans else 0
        """How many numbers are in the set."""

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._spans)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._spans, number, key=_start) - 1
        return at >= 0 and number < self._spans[at][1]

    def first(self) -> tuple[int, int]:
        """Return the first interval; the set must not be empty."""
        return self._spans[0]

    def take_first(self, count: int) -> None:
        """Remove `count` numbers from the first interval, which must hold as many."""
        start, stop = self._spans[0]
        if start + count == stop:
            del self._spans[0]
        else:
            self._spans[0] = (start + count, stop)
        self.size -= count

    def add(self, start: int, stop: int) -> None:
        """Add numbers that are not in the set; `ValueError` if one is."""
        if start >= stop:
            return
        at = bisect_left(self._spans, (start, stop))
        if (at and self._spans[at - 1][1] > start) or (at < len(self._spans) and self._spans[at][0] < stop):
            raise ValueError(f"[{start}, {stop}) overlaps {self._spans}")
        self.size += stop - start
        low, high = at, at
        if at and self._spans[at - 1][1] == start:
            low, start = at - 1, self._spans[at - 1][0]
        if at < len(self._spans) and self._spans[at][0] == stop:
            high, stop = at + 1, self._spans[at][1]
        self._spans[low:high] = [(start, stop)]

    def remove(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Remove every number of [start, stop) that is in the set; return what was removed, in order."""
        removed: list[tuple[int, int]] = []
        kept: list[tuple[int, int]] = []
        for low, high in self._spans:
            cut_low, cut_high = max(low, start), min(high, stop)
            if cut_low >= cut_high:
                kept.append((low, high))
                continue
            removed.append((cut_low, cut_high))
            kept += [span for span in ((low, cut_low), (cut_high, high)) if span[0] < span[1]]
        self._spans = kept
        self.size -= sum(high - low for low, high in removed)
        return removed

    def clear(self) -> None:
        """Remove everything."""
        self._spans.clear()
        self.size = 0


def _start(span: tuple[int, int]) -> int:
    return span[0]
