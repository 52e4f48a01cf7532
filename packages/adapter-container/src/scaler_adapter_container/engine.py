"""The engine behind the Docker API: one blocking call each, with its answers as records. Only this file uses docker-py.

Knows containers, not groups. Everything that can go wrong is an `EngineError` that says what kind of failure it is.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, cast

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import CancellableStream
from docker.utils import kwargs_from_env

from scaler_adapter_core.provider import ProviderError

REQUEST_SECONDS: Final = 20
"""The longest answer to one request, a pull apart."""
STOP_SECONDS: Final = 10
"""Before SIGKILL where somebody else stops a container, as Docker has it; podman has 0 for whoever does not say."""
_UNREACHED = (ConnectionRefusedError, FileNotFoundError, PermissionError)
"""At the root of a failure these tell that the request was never sent."""
_T = TypeVar("_T")


class EngineError(ProviderError):
    """The engine did not do what it was asked."""


class Unreached(EngineError):
    """It could not be asked: nothing has happened."""


class Unanswered(EngineError):
    """It was asked, and did not say what it did."""


class Refused(EngineError):
    """It said no."""


class NoSuchContainer(Refused):
    """There is no such container."""


class NoSuchImage(Refused):
    """It does not have the image."""


@dataclass(frozen=True, slots=True)
class Request:
    """A container that shall be made."""

    name: str
    image: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    user: str | None
    host: Mapping[str, Any]
    """What docker-py's `create_host_config` is to be given."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as it stands in a list."""

    container_id: str
    state: str
    """`created`, `running`, `exited` and others, in the engine's words."""
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class End:
    """How a container has ended."""

    exit_code: int
    is_out_of_memory: bool
    """Whether the engine says that its memory limit has ended it. Older ones of podman never do."""
    memory_bytes: int
    """Its limit, 0 for none."""
    error: str
    last_lines: tuple[str, ...]


class Engine:
    """See the module. Not for several threads."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client

    @classmethod
    def open(cls, docker_host: str | None, timeout_seconds: int = REQUEST_SECONDS) -> Self:
        """Connect, by default as the docker command does; `Unreached` says why not."""
        options: dict[str, Any] = {} if docker_host is None else {"base_url": docker_host}
        try:
            options = {**kwargs_from_env(), **options}
            return cls(docker.APIClient(**options, version="auto", timeout=timeout_seconds))
        except (DockerException, OSError) as error:
            where = options.get("base_url") or "unix:///var/run/docker.sock"
            raise Unreached(f"cannot reach a container engine at {where}: {_in_one_line(error)}") from error

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def create(self, request: Request) -> str:
        """Make a container and return its id; it does not run yet."""

        def create() -> str:
            answer = self._client.create_container(
                request.image,
                request.command,
                name=request.name,
                labels=request.labels,
                environment=request.environment,
                user=request.user,
                host_config=self._client.create_host_config(**request.host),
                stop_timeout=STOP_SECONDS,
            )
            return str(answer["Id"])

        return _asked(create)

    def start(self, container_id: str) -> None:
        """Let a container run; nothing happens if it does already."""
        _asked(lambda: self._client.start(container_id))

    def all_with(self, labels: Mapping[str, str]) -> list[Listed]:
        """Return all containers with these labels, ended ones too."""
        return [
            Listed(str(entry["Id"]), str(entry["State"]).lower(), dict(entry.get("Labels") or {}))
            for entry in _asked(lambda: self._client.containers(all=True, filters=_filters(labels)))
        ]

    def find(self, name: str) -> Listed | None:
        """Return the container of a name."""
        try:
            entry = _asked(lambda: self._client.inspect_container(name))
        except NoSuchContainer:
            return None
        return Listed(str(entry["Id"]), str(entry["State"]["Status"]).lower(), dict(entry["Config"]["Labels"] or {}))

    def end_of(self, container_id: str, lines: int) -> End:
        """Return how a container has ended, with so many of its last lines."""
        entry = _asked(lambda: self._client.inspect_container(container_id))
        state = entry["State"]
        return End(
            int(state["ExitCode"]),
            bool(state.get("OOMKilled")),
            int(entry["HostConfig"].get("Memory") or 0),
            " ".join(str(state.get("Error") or "").split()),
            self.last_lines(container_id, lines),
        )

    def last_lines(self, container_id: str, lines: int) -> tuple[str, ...]:
        """Return the end of what a container has printed; nothing where the engine keeps no log."""
        try:
            text = _asked(lambda: self._client.logs(container_id, stdout=True, stderr=True, tail=lines))
        except Refused:
            return ()
        return tuple(line for line in text.decode(errors="replace").splitlines() if line.strip())

    def signal(self, container_id: str, name: str) -> None:
        """Send a signal to a container; nothing happens if it does not run any more."""
        try:
            _asked(lambda: self._client.kill(container_id, name))
        except NoSuchContainer:
            pass
        except Refused:
            # 409 of Docker and 500 of podman alike may say that it has just ended: look.
            found = self.find(container_id)
            if found is not None and found.state in {"running", "paused"}:
                raise

    def remove(self, container_id: str) -> None:
        """Remove a container, and what it has left on the disk; it is killed if it runs."""
        with contextlib.suppress(NoSuchContainer):
            _asked(lambda: self._client.remove_container(container_id, v=True, force=True))

    def events(self, labels: Mapping[str, str]) -> "Events":
        """Return what happens to containers with these labels, as it happens. From then on nothing is missed."""
        filters = {"type": ["container"], **_filters(labels)}
        return Events(_asked(lambda: self._client.events(decode=True, filters=filters)))

    def pull(self, image: str) -> None:
        """Fetch an image, however long it takes."""
        name = image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
        answer = _asked(lambda: self._client.pull(name))
        failure = _failure_in(answer)
        if failure:  # it is in the last line, behind an HTTP 200
            raise Refused(failure)


class Events:
    """What happens to containers, as it happens: `start`, `die` and others. One thread waits for the next."""

    def __init__(self, stream: CancellableStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        """Wait for one after the other, until the engine tells nothing more or somebody closes this."""
        end = object()
        while (event := _asked(lambda: next(self._stream, end))) is not end:
            yield str(cast("dict[str, object]", event).get("Action"))

    def close(self) -> None:
        """Let the thread that waits go on, from any other. May be repeated."""
        # Through SSH it cannot be done. Where the stream has just ended by itself, the library finds no socket.
        with contextlib.suppress(DockerException, OSError, AttributeError):
            self._stream.close()


def _filters(labels: Mapping[str, str]) -> dict[str, list[str]]:
    return {"label": [f"{name}={value}" for name, value in labels.items()]}


def _asked(ask: Callable[[], _T]) -> _T:
    """Ask the engine, and say what kind of failure it was."""
    try:
        return ask()
    except ImageNotFound as error:
        raise NoSuchImage(_said(error)) from error
    except NotFound as error:
        raise NoSuchContainer(_said(error)) from error
    except APIError as error:
        raise Refused(_said(error)) from error
    except (DockerException, OSError) as error:
        if any(isinstance(cause, _UNREACHED) for cause in _causes(error)):
            raise Unreached(f"the engine cannot be reached: {_in_one_line(error)}") from error
        raise Unanswered(f"the engine has not answered: {_in_one_line(error)}") from error


def _said(error: APIError) -> str:
    """Return what the engine itself said."""
    return " ".join((error.explanation or str(error)).split())


def _in_one_line(error: BaseException) -> str:
    root = [cause for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror]
    return " ".join(str(root[-1].strerror if root else error).split())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and all that led to it: causes, and errors that libraries hand on as arguments."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        yield cause
        waiting += [*cause.args, cause.__cause__, cause.__context__, getattr(cause, "reason", None)]


def _failure_in(answer: str) -> str:
    """Return the error among the lines of JSON that tell of a pull, empty if there is none."""
    for line in reversed(answer.splitlines()):
        with contextlib.suppress(ValueError, AttributeError):  # not JSON, or not an object
            said = json.loads(line).get("error")
            if said:
                return " ".join(str(said).split())
    return ""
