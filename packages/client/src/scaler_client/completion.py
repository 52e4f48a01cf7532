"""Brings futures to their end. Those that nobody has looked into yet are completed under one lock, many at once."""

# ruff: noqa: SLF001 - the other half of future.py, kept from those who only use futures
# pyright: reportPrivateUsage=false
import os
import threading
from collections.abc import Iterable
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from functools import partial

from scaler_client.future import NO_PROFILE, LoopWaker, ProfileResult, ScalerFuture, lock


def complete(futures: Iterable[ScalerFuture], results: Iterable[object], profile: ProfileResult) -> None:
    """Give each future its result; `profile` is what each task took."""
    watched: list[tuple[ScalerFuture, object]] = []
    with lock:
        for future, result in zip(futures, results, strict=True):
            if future.watched:
                watched.append((future, result))
                continue
            future._result = result
            future._profile = profile
            future._state = FINISHED
            if future._gates:
                _open_gates(future)
    for future, result in watched:
        _finish(future, FINISHED, result, None, profile)


def fail(future: ScalerFuture, error: BaseException, profile: ProfileResult = NO_PROFILE) -> None:
    """End a future with an exception."""
    _finish(future, FINISHED, None, error, profile)


def cancel(future: ScalerFuture) -> None:
    """End a future as cancelled."""
    _finish(future, CANCELLED_AND_NOTIFIED, None, None, NO_PROFILE)


def fail_in_child(future: ScalerFuture, error: BaseException) -> None:
    """End a future in a forked process, where nobody waits and the lock of its condition may be held for ever."""
    if future.watched:
        future._condition = threading.Condition()
    future._exception, future._state = error, FINISHED


def _finish(
    future: ScalerFuture, state: str, result: object, error: BaseException | None, profile: ProfileResult
) -> None:
    with future._condition:
        future._result, future._exception, future._profile, future._state = result, error, profile, state
        for waiter in future._waiters:
            if state == CANCELLED_AND_NOTIFIED:
                waiter.add_cancelled(future)
            elif error is not None:
                waiter.add_exception(future)
            else:
                waiter.add_result(future)
        future._condition.notify_all()
    with lock:
        _open_gates(future)
    callbacks, future._done_callbacks = future._done_callbacks, []
    for callback in callbacks:
        if isinstance(callback, LoopWaker):
            callback(future)
        else:
            future._ticket.owner.run_callback(partial(callback, future))


def _open_gates(future: ScalerFuture) -> None:
    """Let go on who waits for the future, which has its end. Under the lock."""
    for gate in future._gates:
        gate.release()
    future._gates = ()


os.register_at_fork(after_in_child=lock._at_fork_reinit)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportAttributeAccessIssue] - typeshed lacks it
