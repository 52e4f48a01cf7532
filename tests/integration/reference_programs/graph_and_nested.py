"""Graphs, objects sent once, clients inside tasks, a serializer of one's own; the combo is configured."""

# ruff: noqa: T201 - what a program prints is its result

import functools
from typing import Any

import cloudpickle

from scaler import Client, Serializer
from scaler.client.object_reference import ObjectReference
from scaler.cluster.combo import SchedulerClusterCombo
from scaler.config.section.scheduler import PolicyConfig
from scaler.utility.exceptions import MissingObjects
from scaler.utility.graph.optimization import cull_graph
from scaler.utility.logging.scoped_logger import ScopedLogger
from scaler.utility.logging.utility import setup_logger
from scaler.worker.agent.processor.processor import Processor


def inc(i):
    return i + 1


def add(a, b):
    return a + b


def minus(a, b):
    return a - b


graph = {
    "a": 2,
    "b": 2,
    "c": (inc, "a"),  # c = a + 1 = 3
    "d": (add, "a", "b"),  # d = a + b = 4
    "e": (minus, "d", "c"),  # e = d - c = 1
}


def fibonacci(client: Client, n: int):
    if n <= 1:
        return n
    a = client.submit(fibonacci, client, n - 1)
    b = client.submit(fibonacci, client, n - 2)
    return a.result() + b.result()


def inside():
    processor = Processor.get_current_processor()
    with Client() as client:
        return client.map(inc, [1, 2]), str(processor.scheduler_address())


class CustomSerializer(Serializer):
    @staticmethod
    def serialize(obj: Any) -> bytes:
        return b"custom" + cloudpickle.dumps(obj)

    @staticmethod
    def deserialize(payload: bytes) -> Any:
        return cloudpickle.loads(bytes(payload)[len(b"custom") :])


def main():
    setup_logger(log_paths=("/dev/stdout",), logging_level="INFO")
    cluster = SchedulerClusterCombo(
        n_workers=2,
        per_worker_capabilities={"linux": -1, "cpu": 4},
        per_worker_task_queue_size=10,
        heartbeat_interval_seconds=1,
        scaler_policy=PolicyConfig("simple", "allocate=capability; scaling=no"),
        event_loop="builtin",
    )
    with Client(address=cluster.get_address()) as client, ScopedLogger("everything"):
        print("RESULT", client.get(graph, keys=["a", "b", "c", "d", "e"]))
        print("RESULT", list(cull_graph(graph, ["c"])))
        futures = client.get(graph, keys=["e"], block=False, capabilities={"cpu": 2})
        print("RESULT", futures["e"].result())

        reference = client.send_object(list(range(1000)), name="large_object")
        print("RESULT", isinstance(reference, ObjectReference), reference.name)
        print("RESULT", client.submit(sum, reference).result())
        print("RESULT", client.map(functools.partial(add, 1), [1, 2], capabilities={"linux": -1}))
        client.clear()
        try:
            client.submit(sum, reference).result()
        except MissingObjects:
            print("RESULT missing")

        print("RESULT", client.submit(fibonacci, client, 6).result())
        inner, address = client.submit(inside).result()
        print("RESULT", inner, address == cluster.get_address())

    with Client(address=cluster.get_address(), serializer=CustomSerializer()) as client:
        print("RESULT", client.map(inc, range(5)))
    cluster.shutdown()


if __name__ == "__main__":
    main()
