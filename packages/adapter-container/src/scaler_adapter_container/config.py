"""The options of `scaler_worker_adapter_container`."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from scaler_adapter_core.group_size import most_groups
from scaler_protocol.addresses import Address
from scaler_runtime.config import Allowed, ConfigError, Option, Options, at_least, one_of
from scaler_runtime.options import (
    CONNECTABLE,
    LoggingConfig,
    Preload,
    ProcessConfig,
    WorkerAdapterConfig,
    WorkerConfig,
)

PULL_POLICIES: Final = ("missing", "always", "never")
HOST_NETWORK: Final = "host"

_SIZE = re.compile(r"([1-9][0-9]*)([bkmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_A_SIZE = Allowed("a number of bytes, or one with k, m or g after it", lambda text: _SIZE.fullmatch(text) is not None)
_A_CPU_NUMBER = Allowed("a number of CPUs above 0, as 2 or 0.5", lambda text: _nano_cpus(text) > 0)
_A_TAG = Allowed(
    "at most 64 letters, digits, and dots, dashes or underscores between", lambda text: _TAG.fullmatch(text) is not None
)
_MOUNTS = Allowed("a list of source:target or source:target:options", lambda items: all(map(_is_mount, items)))
_PAIRS = Allowed("a list of name=value", lambda items: all(item.partition("=")[0] and "=" in item for item in items))


@dataclass(frozen=True)
class ContainerConfig(Options):
    """What a container is made of."""

    image: Annotated[str, Option("image with Python and scaler-worker (required)", "-i")] = ""
    pull: Annotated[
        str,
        Option(
            "when the engine fetches the image: missing (if it has none), always, never", "-pl", one_of(*PULL_POLICIES)
        ),
    ] = "missing"
    network: Annotated[
        str, Option("network of the engine; host is the machine's own, in which every address is as here", "-net")
    ] = HOST_NETWORK
    mounts: Annotated[
        tuple[str, ...], Option("folders and volumes: source:target, or source:target:ro", "-m", _MOUNTS)
    ] = ()
    environment: Annotated[tuple[str, ...], Option("variables, each as name=value", "-env", _PAIRS)] = ()
    cpus: Annotated[
        str | None, Option("most CPUs of a container", "-cpu", _A_CPU_NUMBER, default_text="without limit")
    ] = None
    memory: Annotated[
        str | None,
        Option("most memory of a container, swap included: 512m, 4g", "-mem", _A_SIZE, default_text="without limit"),
    ] = None
    shm_size: Annotated[
        str | None, Option("size of the container's /dev/shm", "-shm", _A_SIZE, default_text="the engine's, often 64m")
    ] = None
    labels: Annotated[tuple[str, ...], Option("further labels, each as name=value", "-lb", _PAIRS)] = ()
    user: Annotated[str | None, Option("user, or user:group, in the container", "-u", default_text="the image's")] = (
        None
    )
    python: Annotated[str, Option("Python to use in the image", "-py")] = "python3"
    workers_per_group: Annotated[int, Option("workers in each container", "-wpg", at_least(1))] = 1
    address_for_workers: Annotated[
        Address | None,
        Option("the scheduler as containers reach it", "-afw", CONNECTABLE, default_text="the scheduler's address"),
    ] = None
    docker_host: Annotated[
        str | None,
        Option(
            "the engine's socket: unix://..., tcp://..., ssh://...",
            "-dh",
            default_text="DOCKER_HOST, else unix:///var/run/docker.sock",
        ),
    ] = None
    tag: Annotated[
        str | None,
        Option(
            "marks this adapter's containers, so that it finds them again after a restart",
            "-t",
            _A_TAG,
            default_text="made of this host's name and the scheduler's address",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check the options; lists may come as such."""
        for name in ("mounts", "environment", "labels"):
            value = cast("object", getattr(self, name))
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(cast("list[str]", value)))
        super().__post_init__()
        if not self.image:
            raise ConfigError(
                "image is missing: give it as --image, as the key image in section [container_worker_adapter] of the "
                "file given with --config, or in the environment variable SCALER_IMAGE",
                "image",
            )

    @property
    def nano_cpus(self) -> int | None:
        """Billionths of a CPU, as the engine counts."""
        return None if self.cpus is None else _nano_cpus(self.cpus)

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit as a number."""
        return None if self.memory is None else _size(self.memory)

    @property
    def shm_bytes(self) -> int | None:
        """The size of /dev/shm as a number."""
        return None if self.shm_size is None else _size(self.shm_size)


@dataclass(frozen=True)
class ContainerWorkerAdapterConfig(Options):
    """Starts workers in containers of Docker or podman when the scheduler asks, one group in each container."""

    worker_adapter_config: WorkerAdapterConfig
    container_config: ContainerConfig
    preload: Preload = None
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)

    def __post_init__(self) -> None:
        """Check the options, and that there may be a container at all."""
        super().__post_init__()
        most_groups(self.worker_adapter_config, self.container_config.workers_per_group)

    @property
    def max_groups(self) -> int:
        """Most containers at a time, -1 without limit."""
        return most_groups(self.worker_adapter_config, self.container_config.workers_per_group)

    @property
    def address_for_workers(self) -> Address:
        """The scheduler as the workers are told it."""
        return self.container_config.address_for_workers or self.worker_adapter_config.scheduler_address


def _nano_cpus(text: str) -> int:
    try:
        return int(float(text) * 1_000_000_000)
    except (ValueError, OverflowError):
        return 0


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(match[1]) * _UNITS[match[2].lower()]


def _is_mount(text: str) -> bool:
    parts = text.split(":")
    return len(parts) in {2, 3} and bool(parts[0]) and parts[1].startswith("/")
