"""What every compared system can do."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol


class System(Protocol):
    """A running system with a fixed number of workers."""

    name: str

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        """Run the function on each item, without any tuning by the caller."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run one call."""
        ...

    def pids(self) -> list[int]:
        """Return the processes that belong to it, the caller's apart."""
        ...

    def close(self) -> None:
        """End it."""
        ...
