"""The options of `scaler_worker_adapter_slurm`, and the types of those that are Slurm's."""

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Self

from scaler_adapter_core.group_size import most_groups
from scaler_runtime.config import Allowed, ConfigError, Option, Options, at_least
from scaler_runtime.options import LoggingConfig, Preload, ProcessConfig, WorkerAdapterConfig, WorkerConfig

WARNING_SLACK_SECONDS: Final = 60
"""Slurm warns of a time limit up to so much earlier than it is asked to."""
OF_THE_ADAPTER: Final = frozenset(
    {
        "account",
        "array",
        "chdir",
        "clusters",
        "comment",
        "cpus-per-task",
        "error",
        "export",
        "input",
        "job-name",
        "kill-on-invalid-dep",
        "mem",
        "mem-per-cpu",
        "mem-per-gpu",
        "no-requeue",
        "nodes",
        "ntasks",
        "output",
        "parsable",
        "partition",
        "qos",
        "requeue",
        "signal",
        "test-only",
        "time",
        "wait",
        "wrap",
    }
)
"""Options of sbatch that the adapter sets itself, or that would take its jobs from it."""


@dataclass(frozen=True)
class TimeLimit:
    """How long a job may run."""

    FORM: ClassVar[str] = (
        "a time as Slurm writes it: minutes, [hours:]minutes:seconds or days-hours[:minutes[:seconds]]"
    )

    seconds: int

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read `90`, `1:30:00` or `1-12`."""
        match = _TIME.match(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not {cls.FORM}")
        days, *rest = (int(part) for part in (match["days"] or "0", *match["rest"].split(":")))
        if match["days"] is None:  # sbatch(1): alone it is minutes, two are minutes and seconds
            padded = [0, *rest, 0] if len(rest) == 1 else [0, *rest] if len(rest) == len("ms") else rest
        else:
            padded = [*rest, 0, 0]
        hours, minutes, seconds = padded[:3]
        return cls(((days * 24 + hours) * 60 + minutes) * 60 + seconds)

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"


@dataclass(frozen=True)
class Memory:
    """An amount of memory."""

    FORM: ClassVar[str] = "a whole number >= 1 with K, M, G or T; without a letter it is MiB"

    kib: int

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read `2G` or `500M`."""
        match = _MEMORY.match(text.strip())
        if match is None or int(match["number"]) < 1:
            raise ValueError(f"{text!r} is not {cls.FORM}")
        return cls(int(match["number"]) << _SHIFTS[match["unit"].upper() or "M"])

    def __mul__(self, count: int) -> "Memory":
        return Memory(self.kib * count)

    def __str__(self) -> str:
        for unit in "TGM":
            if self.kib % (1 << _SHIFTS[unit]) == 0:
                return f"{self.kib >> _SHIFTS[unit]}{unit}"
        return f"{self.kib}K"


_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})\Z")
_MEMORY = re.compile(r"(?P<number>\d+)(?P<unit>[KMGTkmgt]?)\Z")
_SHIFTS = {"K": 0, "M": 10, "G": 20, "T": 30}
_DIRECTIVE = re.compile(r"(?:--)?(?P<name>[a-z][a-z-]+)(?:=.*)?\Z", re.DOTALL)
_JOB_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def _are_directives(values: tuple[str, ...]) -> bool:
    matches = [_DIRECTIVE.match(value) for value in values]
    return all(match is not None and match["name"] not in OF_THE_ADAPTER for match in matches)


_DIRECTIVES = Allowed(
    "options of sbatch in their long form, as gres=gpu:1, none of those that the adapter sets itself", _are_directives
)


@dataclass(frozen=True)
class SlurmConfig(Options):
    """What jobs ask Slurm for, and what they do before their workers start."""

    partition: Annotated[str | None, Option("partition of the jobs", "-spt", default_text="Slurm's own")] = None
    account: Annotated[str | None, Option("account that is charged", "-sac", default_text="Slurm's own")] = None
    qos: Annotated[str | None, Option("quality of service", "-sq", default_text="Slurm's own")] = None
    time_limit: Annotated[
        TimeLimit | None,
        Option(
            "how long a job may run: minutes, hours:minutes:seconds, days-hours", "-stl", default_text="Slurm's own"
        ),
    ] = None
    workers_per_group: Annotated[int, Option("workers in one job", "-wpg", at_least(1))] = 1
    cpus_per_worker: Annotated[int, Option("CPUs of a job for each of its workers", "-cpw", at_least(1))] = 1
    memory_per_worker: Annotated[
        Memory, Option("memory of a job for each of its workers: a number with K, M, G or T", "-mpw")
    ] = field(default_factory=lambda: Memory.from_string("2G"))
    sbatch_options: Annotated[
        tuple[str, ...], Option("further options of sbatch, as gres=gpu:1 exclusive", "-sbo", _DIRECTIVES)
    ] = ()
    modules: Annotated[tuple[str, ...], Option("modules that a job loads first", "-mod")] = ()
    virtual_environment: Annotated[
        str | None, Option("folder of a virtual environment that a job activates then", "-venv")
    ] = None
    prologue: Annotated[str | None, Option("script of the shell that a job reads then", "-pro")] = None
    python: Annotated[
        str | None,
        Option(
            "Python of the jobs, with scaler-worker",
            "-py",
            default_text="that of the adapter; python3 where the jobs set up their environment",
        ),
    ] = None
    log_folder: Annotated[
        str, Option("folder for the jobs' output, on a file system that their nodes share", "-lf")
    ] = "slurm-logs"
    job_name: Annotated[
        str,
        Option(
            "how the names of the jobs begin; two adapters of one scheduler and partition need different ones",
            "-jn",
            Allowed("1 to 64 letters, digits, dots, dashes and underscores", lambda text: bool(_JOB_NAME.match(text))),
        ),
    ] = "scaler"
    poll_interval_seconds: Annotated[int, Option("how often Slurm is asked for the jobs", "-pis", at_least(1))] = 5
    drain_seconds: Annotated[
        int, Option("how long before the time limit a job's workers take nothing new", "-ds", at_least(1))
    ] = 30

    def __post_init__(self) -> None:
        """Check the options, and that a job has time for anything."""
        super().__post_init__()
        least = self.drain_seconds + WARNING_SLACK_SECONDS
        if self.time_limit is not None and self.time_limit.seconds <= least:
            raise ConfigError(
                f"time_limit must be more than {least} seconds, of which drain_seconds are {self.drain_seconds} and "
                f"{WARNING_SLACK_SECONDS} are how much too early Slurm may warn of it, not {self.time_limit}",
                "time_limit",
                "drain_seconds",
            )


@dataclass(frozen=True)
class SlurmWorkerAdapterConfig(Options):
    """Has Slurm run workers when the scheduler asks; each job is a group of them."""

    worker_adapter_config: WorkerAdapterConfig
    slurm_config: SlurmConfig = field(default_factory=SlurmConfig)
    preload: Preload = None
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)

    def __post_init__(self) -> None:
        """Check the options, and that there may be a job at all."""
        super().__post_init__()
        most_groups(self.worker_adapter_config, self.slurm_config.workers_per_group)

    @property
    def max_groups(self) -> int:
        """Most jobs at a time, -1 without limit."""
        return most_groups(self.worker_adapter_config, self.slurm_config.workers_per_group)
