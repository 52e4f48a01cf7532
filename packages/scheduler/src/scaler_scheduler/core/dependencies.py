"""Tasks that wait for results: what each waits for, who waits for a task, and how the end of one reaches the others.

Keeps the tables of `links`; moves no task and sends nothing, which is `dispatch`.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain

from scaler_protocol.batch import RESULTS, U32, U64, numbers
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import SubmitBatch
from scaler_scheduler.core.links import Links, Outcome, Source, Span
from scaler_scheduler.core.recent import Run
from scaler_scheduler.core.state import Batch, Client


def resolve(client: Client, submitted: SubmitBatch, spans: list[Span]) -> Links | None:
    """Return the tables of a batch that comes in, of which tasks `spans` are to run; None if it comes too late.

    That is so where a task that it waits for is over and its outcome is not kept. Changes nothing. Raises
    `ProtocolError` for edges that lead nowhere, or in a circle.
    """
    links = Links.of(numbers(U32, submitted.dependency_counts))
    batches, tasks = numbers(U64, submitted.dependency_batches), numbers(U32, submitted.dependency_tasks)
    others: dict[int, _Sources] = {}
    for task in chain.from_iterable(range(*span) for span in spans):
        missing = 0
        for edge in links.edges_of(task):
            source = batches[edge], tasks[edge]
            if source >= (submitted.batch_id, task):
                raise ProtocolError(f"task {task} of batch {submitted.batch_id} waits for {source}")
            if source[0] == submitted.batch_id:
                known = source if _holds(spans, source[1]) else None
            else:
                other = others.get(source[0])
                if other is None:
                    other = others[source[0]] = _Sources(client, source[0])
                known = other.look_up(source[1])
            if known is None:
                return None
            links.edges[edge] = known
            if isinstance(known, Outcome) and known.status in RESULTS:
                continue
            missing += 1
            if isinstance(known, Outcome):
                links.failed.setdefault(task, known)
        if missing:
            links.missing[task] = missing
    return links


def attach(batch: Batch) -> None:
    """Make a batch that has come in known to the tasks that it waits for."""
    batches, batch_id = batch.client.batches, batch.submitted.batch_id
    for (source, task), edge in _links(batch).sources():
        batches[source].awaited.setdefault(task, {})[batch_id, edge] = None


def succeeded(batch: Batch, tasks: Iterable[int], run: Run) -> list[tuple[Batch, int]]:
    """Give the results of tasks in a run to who waits for them; return who is ready now."""
    ready: list[tuple[Batch, int]] = []
    for task in tasks:
        result = Outcome(run.status, task - run.start, run.payload)
        for batch_id, edge in batch.awaited.pop(task):
            dependent = batch.client.batches[batch_id]
            complete = _links(dependent).arrive(edge, result)
            if complete is not None:
                ready.append((dependent, complete))
    return ready


def failed(batch: Batch, tasks: Iterable[int], outcome: Outcome) -> dict[Batch, list[int]]:
    """Take note that tasks ended without a result; return who waited for them, directly or not: they end likewise.

    But for those whose worker has them already: it will say so, or they end when they come back.
    """
    doomed: dict[Batch, list[int]] = {}
    left = [(batch, task) for task in tasks]
    while left:
        source, ended = left.pop()
        for batch_id, edge in source.awaited.pop(ended, ()):
            dependent = batch.client.batches[batch_id]
            links = _links(dependent)
            task = links.task_of(edge)
            if task in links.ahead:
                links.failed[task] = outcome
            elif task in links.missing:
                drop(dependent, task)
                doomed.setdefault(dependent, []).append(task)
                left.append((dependent, task))
    return doomed


def drop(batch: Batch, task: int) -> None:
    """Forget a waiting task, here and where it is waited for."""
    for (batch_id, source), edge in _links(batch).drop(task):
        awaited = batch.client.batches[batch_id].awaited
        dependents = awaited.get(source)
        if dependents is not None:  # it is the one that has just ended
            del dependents[batch.submitted.batch_id, edge]
            if not dependents:
                del awaited[source]


def over(batch: Batch, start: int, stop: int) -> None:
    """Let go of what tasks [start, stop) needed: their outcome is known."""
    links = _links(batch)
    for task in range(start, stop) if links.ahead else ():
        if task in links.ahead:
            drop(batch, task)
    links.forget(start, stop)


def awaited_of(batch: Batch, start: int, stop: int) -> list[int]:
    """Return the tasks of [start, stop) that somebody waits for."""
    awaited = batch.awaited
    if len(awaited) < stop - start:
        return [task for task in awaited if start <= task < stop]
    return [task for task in range(start, stop) if task in awaited]


def spans_of(tasks: Iterable[int]) -> list[Span]:
    """Return tasks as spans, in order."""
    spans: list[Span] = []
    for task in sorted(tasks):
        if spans and spans[-1][1] == task:
            spans[-1] = spans[-1][0], task + 1
        else:
            spans.append((task, task + 1))
    return spans


def _links(batch: Batch) -> Links:
    if batch.links is None:
        raise ValueError(f"no task of batch {batch.submitted.batch_id} waits for results")
    return batch.links


class _Sources:
    """A batch that others wait for: which tasks are unfinished, and how others ended, each looked up once."""

    def __init__(self, client: Client, batch_id: int) -> None:
        self._client = client
        self._batch_id = batch_id
        self._batch = client.batches.get(batch_id)
        self._held: list[Span] | None = None
        self._ended: list[Run] | None = None

    def look_up(self, task: int) -> Source | Outcome | None:
        """Return the task if it is unfinished, how it ended, or None if that is not known."""
        if self._is_unfinished(task):
            return self._batch_id, task
        if self._ended is None:
            self._ended = [] if self._client.recent is None else self._client.recent.runs(self._batch_id)
        at = bisect_right(self._ended, task, key=_start) - 1
        if at < 0 or task >= self._ended[at].stop:
            return None
        run = self._ended[at]
        return Outcome(run.status, task - run.start, run.payload)

    def _is_unfinished(self, task: int) -> bool:
        batch = self._batch
        if batch is None:
            return False
        if task >= batch.submitted.count:
            raise ProtocolError(f"a task waits for task {task} of a batch of {batch.submitted.count}")
        if task in batch.ready or (batch.links is not None and task in batch.links.missing):
            return True
        if self._held is None:
            self._held = sorted((piece.next, piece.stop) for piece in batch.slices.values())
        return _holds(self._held, task)


def _holds(spans: list[Span], task: int) -> bool:
    at = bisect_right(spans, task, key=_start) - 1
    return at >= 0 and task < spans[at][1]


def _start(span: Span | Run) -> int:
    return span[0]
