"""Results that calls wait for: who makes them, and what takes their place once they are there.

A *source* is a task of the same client whose outcome others need. It is kept by the calls that do, and no longer.
"""

# ruff: noqa: SLF001 - the state of futures, kept from those who only use futures
# pyright: reportPrivateUsage=false
from collections.abc import Callable
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, RUNNING
from dataclasses import dataclass

from scaler_client.future import ScalerFuture
from scaler_client.handles import Handle
from scaler_client.linked import InlineLink, Link, StoredLink
from scaler_client.outcomes import Failure
from scaler_client.serializer import Serializer, dump_result, load_values
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import Status, unpack_stored


@dataclass(slots=True, eq=False)
class Given:
    """A result. `make_link` must not raise; `handle` keeps what the link leads to."""

    make_link: Callable[[], Link]
    handle: Handle | None = None


@dataclass(slots=True, eq=False)
class Lost:
    """There is no result; None for a task that was cancelled."""

    failure: Failure | None


class Source:
    """See the module. While `outcome` is None it is waited for."""

    __slots__ = ("__weakref__", "batch_id", "index", "outcome")

    def __init__(self, batch_id: int, index: int, outcome: Given | Lost | None = None) -> None:
        self.batch_id = batch_id
        self.index = index
        self.outcome = outcome


def delivered(status: int, position: int, run: bytes, handle: Handle | None, serializer: Serializer) -> Given:
    """Return a result as it came from the scheduler: the one at `position` of a run."""

    def make_link() -> Link:
        if status == Status.STORED:
            return StoredLink(unpack_stored(run)[1])
        if status == Status.VALUES:
            return InlineLink(dump_result(load_values(run)[position], serializer))
        return InlineLink(run)

    return Given(make_link, handle)


def is_done(future: ScalerFuture) -> bool:
    """Whether the task of a future has its outcome."""
    return future._state != RUNNING


def has_result(future: ScalerFuture) -> bool:
    """Whether the task of a future has succeeded."""
    return future._state == FINISHED and future._exception is None


def outcome_of(future: ScalerFuture, serializer: Serializer) -> Given | Lost:
    """Return the outcome of a future that is done. One that cannot be passed on is lost."""
    if future._state == CANCELLED_AND_NOTIFIED:
        return Lost(None)
    error, result = future._exception, future._result
    if error is not None:
        return Lost(lambda: error)
    if isinstance(result, StoredResult):
        stored = StoredLink(result.handle.key)
        return Given(lambda: stored, result.handle)
    try:
        inline = InlineLink(dump_result(result, serializer))
    except Exception as reason:  # noqa: BLE001 - whatever the object's own methods raise
        why = reason.with_traceback(None)
        return Lost(lambda: why)
    return Given(lambda: inline)


def result_of(future: ScalerFuture) -> object:
    """Return the value, or what stands for one in the object storage, of a future that is done with a result."""
    return future._result


def place_of(future: ScalerFuture) -> tuple[bytes, int, int]:
    """Return whose task it is: client, batch and index."""
    ticket = future._ticket
    return ticket.owner.client_id, ticket.batch_id, future._index
