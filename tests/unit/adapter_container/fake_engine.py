"""A container engine that runs nothing, behind the same calls as the real one, with failures on request."""

import itertools
import queue

from scaler_adapter_container.config import ContainerConfig, ContainerWorkerAdapterConfig
from scaler_adapter_container.engine import End, Listed, NoSuchContainer, NoSuchImage, Refused
from scaler_protocol.addresses import Address
from scaler_runtime.options import WorkerAdapterConfig


class FakeEngine:
    """`containers` by id: a dictionary each. What stands in `failures` under a call's name is raised, one at a time."""

    def __init__(self, images=("image",)):
        self.images = set(images)
        self.containers = {}
        self.failures = {}
        self.calls = []
        self.told = queue.SimpleQueue()
        self.ignores_sigterm = False
        self.is_closed = False
        self.pulled = {"image"}
        """What a pull brings."""
        self._ids = itertools.count(1)

    def create(self, request):
        self._begin("create", request.name)
        if request.image not in self.images:
            raise NoSuchImage(f"no such image: {request.image}")
        if any(one["request"].name == request.name for one in self.containers.values()):
            raise Refused("the name is taken")
        container_id = f"c{next(self._ids)}"
        self.containers[container_id] = {"request": request, "state": "created", "end": None}
        self._lose_answer("create")
        return container_id

    def start(self, container_id):
        self._begin("start", container_id)
        self._one(container_id)["state"] = "running"
        self.told.put("start")
        self._lose_answer("start")

    def all_with(self, labels):
        self._begin("all_with")
        return [
            Listed(key, one["state"], one["request"].labels)
            for key, one in self.containers.items()
            if labels.items() <= one["request"].labels.items()
        ]

    def find(self, name):
        self._begin("find", name)
        for key, one in self.containers.items():
            if one["request"].name == name:
                return Listed(key, one["state"], one["request"].labels)
        return None

    def end_of(self, container_id, lines):
        self._begin("end_of", container_id)
        return self._one(container_id)["end"]

    def last_lines(self, container_id, lines):
        return ("hello",)

    def signal(self, container_id, name):
        self._begin("signal", container_id, name)
        if self._one(container_id)["state"] == "running" and not (name == "SIGTERM" and self.ignores_sigterm):
            self.end(container_id, exit_code=137 if name == "SIGKILL" else 0)

    def remove(self, container_id):
        self._begin("remove", container_id)
        self.containers.pop(container_id, None)

    def pull(self, image):
        self._begin("pull", image)
        self.images |= self.pulled

    def events(self, labels):
        self._begin("events")
        return FakeEvents(self.told)

    def close(self):
        self.is_closed = True

    # ---- what tests do

    def end(self, container_id, *, exit_code=0, is_out_of_memory=False, lines=()):
        """Let a container end."""
        one = self.containers[container_id]
        one["state"], one["end"] = "exited", End(exit_code, is_out_of_memory, 0, "", tuple(lines))
        self.told.put("die")

    def fail(self, call, error, *, after=False):
        """Raise an error at the next such call; `after` it was carried out."""
        self.failures.setdefault((call, after), []).append(error)

    def named(self, call):
        """Return the arguments of all such calls."""
        return [arguments for name, *arguments in self.calls if name == call]

    def _begin(self, call, *arguments):
        self.calls.append((call, *arguments))
        if self.failures.get((call, False)):
            raise self.failures[(call, False)].pop(0)

    def _lose_answer(self, call):
        if self.failures.get((call, True)):
            raise self.failures[(call, True)].pop(0)

    def _one(self, container_id):
        if container_id not in self.containers:
            raise NoSuchContainer(container_id)
        return self.containers[container_id]


class FakeEvents:
    """What is told, until this is closed, by any thread."""

    def __init__(self, told):
        self._told = told

    def __iter__(self):
        while (event := self._told.get()) is not None:
            yield event

    def close(self):
        self._told.put(None)


def a_config(*, max_workers=8, address="tcp://10.0.0.1:8516", **options):
    """Return a configuration with an image that the fake has."""
    return ContainerWorkerAdapterConfig(
        WorkerAdapterConfig(Address.from_string(address), max_workers=max_workers),
        ContainerConfig(**{"image": "image", **options}),
    )
