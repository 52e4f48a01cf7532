"""Graphs of calls as users write them: what of one is needed, and an order in which it can be submitted. Runs nothing.

A graph is a dict of string to value. A tuple that starts with a callable is a call, its other items are keys of the
graph; everything else is data.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

Graph = Mapping[str, Any]


def cull_graph(graph: Graph, keys: Iterable[str]) -> dict[str, Any]:
    """Return the part of a graph that `keys` need, in its order.

    Raises `KeyError` for a key or an argument that the graph does not have, `TypeError` for an argument that is no
    string.
    """
    needed: set[str] = set()
    left = list(keys)
    for key in left:
        if key not in graph:
            raise KeyError(f"{key!r} is not in the graph")
    while left:
        key = left.pop()
        if key not in needed:
            needed.add(key)
            left += _arguments(graph, key)
    return {key: value for key, value in graph.items() if key in needed}


def is_call(value: object) -> bool:
    """Whether a value of a graph is a call."""
    return isinstance(value, tuple) and bool(value) and callable(value[0])  # pyright: ignore[reportUnknownArgumentType]


def checked_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys as a list; `KeyError` if one is there twice."""
    wanted = list(keys)
    doubled = [key for key, count in Counter(wanted).items() if count > 1]
    if doubled:
        raise KeyError(f"asked for twice: {', '.join(map(repr, doubled))}")
    return wanted


def in_stages(calls: Mapping[str, Iterable[str]], kinds: Mapping[str, Hashable]) -> list[list[str]]:
    """Return calls in an order in which each comes after those that it needs, in stages of one kind.

    `calls` has for each the calls that it needs, once or more often. There are few stages: the kind that most calls are
    ready of goes on until there is none left of it. Raises `graphlib.CycleError`.
    """
    dependents: dict[str, list[str]] = {key: [] for key in calls}
    missing: dict[str, int] = {}
    ready: dict[Hashable, deque[str]] = {}
    for key, needs in calls.items():
        distinct = set(needs)
        missing[key] = len(distinct)
        for need in distinct:
            dependents[need].append(key)
        if not distinct:
            ready.setdefault(kinds[key], deque()).append(key)
    stages: list[list[str]] = []
    while ready:
        kind = max(ready, key=lambda kind: len(ready[kind]))
        queue, stage = ready[kind], list[str]()
        while queue:
            key = queue.popleft()
            stage.append(key)
            for dependent in dependents[key]:
                missing[dependent] -= 1
                if not missing[dependent]:
                    ready.setdefault(kinds[dependent], deque()).append(dependent)
        del ready[kind]
        stages.append(stage)
    if sum(map(len, stages)) < len(calls):
        TopologicalSorter(calls).prepare()  # it finds the cycle and says which it is
    return stages


def _arguments(graph: Graph, key: str) -> list[str]:
    value = graph[key]
    if not is_call(value):
        return []
    for argument in value[1:]:
        if not isinstance(argument, str):
            raise TypeError(f"an argument of {key!r} is no key of the graph, which are strings: {argument!r}")
        if argument not in graph:
            raise KeyError(f"{argument!r}, an argument of {key!r}, is not in the graph")
    return list(value[1:])
