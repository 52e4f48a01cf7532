"""When somebody wants to be woken at the latest: seconds of a monotonic clock, None for never."""


def earliest(*times: float | None) -> float | None:
    """Return the first of some times, None if all of them are never."""
    first = None
    for at in times:
        if at is not None and (first is None or at < first):
            first = at
    return first
