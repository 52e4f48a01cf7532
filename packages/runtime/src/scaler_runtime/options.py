"""The options that several commands share, in groups, and the types of their values. Each is declared here, once."""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self, cast, overload

from scaler_protocol.addresses import ACCEPTED_FORMS, Address
from scaler_runtime.config import Allowed, ConfigError, Option, Options, at_least, one_of
from scaler_runtime.preload_spec import PRELOAD_FORM, is_preload_spec

LOGGING_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
EVENT_LOOPS = ("builtin", "uvloop")
SCREEN = "/dev/stdout"
USUAL_NUMBER_OF_WORKERS = "CPU count - 1, at least 1"

MINUS_ONE_OR_MORE = Allowed("-1 or a whole number >= 0", lambda value: value >= -1)
AN_ADDRESS = Allowed(f"an address ({ACCEPTED_FORMS})", lambda _address: True)
CONNECTABLE = Allowed(f"an address with a port from 1 on ({ACCEPTED_FORMS})", lambda address: address.port != 0)
_STRINGS = Allowed("zero or more strings", lambda values: all(isinstance(value, str) for value in values))


def usual_number_of_workers() -> int:
    """Return one less than there are CPUs, at least 1."""
    return max(1, (os.cpu_count() or 1) - 1)


@dataclass(frozen=True, eq=False)
class WorkerCapabilities(Mapping[str, int]):
    """What each worker offers: quantities by name, -1 for one without quantity. It is a mapping, too."""

    FORM: ClassVar[str] = "a comma list of name or name=number, the number -1 (without quantity) or >= 0"

    capabilities: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        """Check names and quantities."""
        for name, quantity in self.capabilities.items():
            if not _is_capability(name, quantity):
                raise ValueError(f"the item {f'{name}={quantity}'!r} is not valid, allowed is {self.FORM}")

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read `gpu=2,linux`; an empty text has no items."""
        capabilities: dict[str, int] = {}
        for item in _items(text):
            name, has_quantity, number = (part.strip() for part in item.partition("="))
            try:
                quantity = int(number) if has_quantity else -1
            except ValueError:
                quantity = None
            if quantity is None or not _is_capability(name, quantity):
                raise ValueError(f"the item {item!r} is not valid, allowed is {cls.FORM}")
            if name in capabilities:
                raise ValueError(f"the item {item!r} names {name!r} a second time")
            capabilities[name] = quantity
        return cls(capabilities)

    def __str__(self) -> str:
        return ",".join(name if number == -1 else f"{name}={number}" for name, number in self.capabilities.items())

    def __getitem__(self, name: str) -> int:
        return self.capabilities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.capabilities)

    def __len__(self) -> int:
        return len(self.capabilities)


@dataclass(frozen=True)
class WorkerNames(Sequence[str]):
    """Names of workers, as they appear in their ids. It is also a sequence."""

    FORM: ClassVar[str] = "a comma list of names, none of them empty or with a vertical bar"

    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        for name in self.names:
            if not name.strip() or "|" in name:
                raise ValueError(f"the name {name!r} is not valid, allowed is {self.FORM}")

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read `alice,bob`; an empty text has no names."""
        return cls(tuple(_items(text)))

    def __str__(self) -> str:
        return ",".join(self.names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.names[index]

    def __len__(self) -> int:
        return len(self.names)


ConnectAddress = Annotated[Address, Option("scheduler to connect to", positional=True, allowed=CONNECTABLE)]
ObjectStorageOverride = Annotated[
    Address | None,
    Option("object storage to use", "-osa", CONNECTABLE, default_text="the one the scheduler tells"),
]
Preload = Annotated[
    str | None,
    Option(
        "run once in each processor before its first task: pkg.mod:func, or pkg.mod:func(literals)",
        allowed=Allowed(PRELOAD_FORM, is_preload_spec),
    ),
]


@dataclass(frozen=True)
class LoggingConfig(Options):
    """Where a program writes its log, and how much."""

    paths: Annotated[
        tuple[str, ...],
        Option("- or /dev/stdout: the screen; else files, rotated at midnight", "-lp", _STRINGS, key="logging_paths"),
    ] = (SCREEN,)
    config_file: Annotated[
        str | None, Option("Python fileConfig file; replaces the two others", "-lcf", key="logging_config_file")
    ] = None
    level: Annotated[
        str,
        Option(
            f"least level written: {', '.join(LOGGING_LEVELS)}", "-ll", one_of(*LOGGING_LEVELS), key="logging_level"
        ),
    ] = "INFO"

    def __post_init__(self) -> None:
        """Check the options; paths may come as a list."""
        paths = cast("str | Sequence[str]", self.paths)
        if not isinstance(paths, str):
            object.__setattr__(self, "paths", tuple(paths))
        super().__post_init__()


@dataclass(frozen=True)
class ProcessConfig(Options):
    """How a process runs its loop and its network."""

    event_loop: Annotated[
        str, Option("asyncio loop: builtin, or uvloop where installed", "-el", one_of(*EVENT_LOOPS))
    ] = "builtin"
    worker_io_threads: Annotated[int, Option("network threads of each process", "-wit", at_least(1))] = 1

    def __post_init__(self) -> None:
        """Check the options, and that the loop is installed."""
        super().__post_init__()
        if self.event_loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            raise ConfigError("event_loop uvloop needs the package uvloop: pip install uvloop", "event_loop")


@dataclass(frozen=True)
class WorkerConfig(Options):
    """What workers offer and how they behave."""

    per_worker_capabilities: Annotated[
        WorkerCapabilities, Option("what each worker offers: name or name=number, separated by commas", "-pwc")
    ] = field(default_factory=WorkerCapabilities)
    per_worker_task_queue_size: Annotated[
        int, Option("most tasks held by one worker, the running one included", "-wtqs", at_least(1))
    ] = 1000
    heartbeat_interval_seconds: Annotated[int, Option("heartbeats of workers and adapter", "-his", at_least(1))] = 2
    task_timeout_seconds: Annotated[
        int, Option("longest run of one task, 0 without limit", "-tts", at_least(0), default_text="0 (never)")
    ] = 0
    death_timeout_seconds: Annotated[
        int, Option("a worker that hears nothing from its scheduler this long exits", "-dts", at_least(1))
    ] = 300
    garbage_collect_interval_seconds: Annotated[
        int, Option("how often a processor runs the garbage collector", "-gc", at_least(1))
    ] = 30
    trim_memory_threshold_bytes: Annotated[
        int, Option("above this resident size a processor gives free memory back", "-tm", at_least(0))
    ] = 1 << 30
    hard_processor_suspend: Annotated[
        bool, Option("a task that lends its slot is stopped (SIGSTOP) instead of just waiting", "-hps")
    ] = False


@dataclass(frozen=True)
class WorkerAdapterConfig(Options):
    """Whom a worker adapter serves, and how many workers it may have."""

    scheduler_address: ConnectAddress
    object_storage_address: ObjectStorageOverride = None
    max_workers: Annotated[
        int,
        Option(
            "most workers at a time, -1 without limit; the fixed native adapter starts exactly this many",
            "-mw",
            MINUS_ONE_OR_MORE,
            default_text=USUAL_NUMBER_OF_WORKERS,
        ),
    ] = field(default_factory=usual_number_of_workers)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _is_capability(name: object, quantity: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and type(quantity) is int and quantity >= -1
