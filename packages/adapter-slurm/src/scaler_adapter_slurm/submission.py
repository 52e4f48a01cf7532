"""What is handed to sbatch for a group: the job's name, by which it is found again, its options and its script."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from scaler_adapter_core.group_program import GROUP_MODULE, group_arguments, group_variables
from scaler_adapter_core.provider import LaunchSpec
from scaler_adapter_slurm.config import SlurmWorkerAdapterConfig
from scaler_protocol.identifiers import content_id
from scaler_protocol.messages import Capabilities

WORKER_NAME: Final = "SLM"
"""What worker ids say where a group has no name."""
_RUN_AGAIN_EXIT: Final = 75


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a job, as its comment tells: an adapter with other options finds it so."""

    name: str
    workers: int
    capabilities: Capabilities


class Submission:
    """See the module. `folder` is where the jobs' output goes."""

    def __init__(self, config: SlurmWorkerAdapterConfig, folder: Path) -> None:
        self._config = config
        self._folder = folder
        adapter, slurm = config.worker_adapter_config, config.slurm_config
        tag = content_id(f"{adapter.scheduler_address} {slurm.partition or ''}".encode())[:4].hex()
        self._prefix = f"{slurm.job_name}-{tag}-"

    @property
    def prefix(self) -> str:
        """How the names of this adapter's jobs begin."""
        return self._prefix

    def job_name(self, group_id: str) -> str:
        """Return the name of a group's job."""
        return self._prefix + group_id

    def group_of(self, job_name: str) -> str:
        """Return the group that a job is, empty for jobs of others."""
        return job_name.removeprefix(self._prefix) if job_name.startswith(self._prefix) else ""

    def log(self, group_id: str) -> Path:
        """Return where a job's output goes."""
        return self._folder / f"{group_id}.log"

    def arguments(self, spec: LaunchSpec) -> list[str]:
        """Return the options of sbatch for a group; those of the user come last."""
        slurm = self._config.slurm_config
        contents = {"name": spec.name or WORKER_NAME, "workers": slurm.workers_per_group}
        named = {"partition": slurm.partition, "account": slurm.account, "qos": slurm.qos, "time": slurm.time_limit}
        return [
            "--parsable",
            f"--job-name={self.job_name(spec.group_id)}",
            f"--comment={json.dumps({**contents, 'capabilities': dict(spec.capabilities)})}",
            f"--output={str(self.log(spec.group_id)).replace('%', '%%')}",
            "--open-mode=append",
            "--no-requeue",  # else the job of a lost node begins again by itself, beside its successor
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={slurm.cpus_per_worker * slurm.workers_per_group}",
            f"--mem={slurm.memory_per_worker * slurm.workers_per_group}",  # without it a job may get a whole node
            f"--signal=B:USR2@{slurm.drain_seconds}",
            *(f"--{name}={value}" for name, value in named.items() if value is not None),
            *(f"--{option.removeprefix('--')}" for option in slurm.sbatch_options),
        ]

    def script(self, spec: LaunchSpec) -> str:
        """Return the job's script. It ends as the program that runs the workers, which so gets Slurm's signals."""
        config, slurm = self._config, self._config.slurm_config
        arguments = group_arguments(
            spec.group_id,
            spec.name or WORKER_NAME,
            slurm.workers_per_group,
            config.worker_adapter_config,
            config.worker_config,
            config.process_config,
            preload=config.preload,
            logging_level=config.logging_config.level,
        )
        lines = [
            "#!/bin/bash",
            f"# The workers of one group of Scaler: {spec.group_id}",
            # Requeued all the same, by an administrator: the group has been given up.
            f'[ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || exit {_RUN_AGAIN_EXIT}',
            f"unset {' '.join(group_variables())}",
            "export PYTHONUNBUFFERED=1",
        ]
        if slurm.modules:
            lines.append("type module > /dev/null 2>&1 || . /etc/profile")
            lines.append(f"module load {shlex.join(slurm.modules)} || exit")
        if slurm.virtual_environment:
            activate = Path(slurm.virtual_environment).expanduser().absolute() / "bin" / "activate"
            lines.append(f". {shlex.quote(str(activate))} || exit")
        if slurm.prologue:
            lines.append(f". {shlex.quote(str(Path(slurm.prologue).expanduser().absolute()))} || exit")
        return "\n".join([*lines, f"exec {shlex.join([self.python, '-m', GROUP_MODULE, *arguments])}", ""])

    @property
    def python(self) -> str:
        """The interpreter of the jobs."""
        slurm = self._config.slurm_config
        if slurm.python:
            return slurm.python
        return "python3" if slurm.modules or slurm.virtual_environment or slurm.prologue else sys.executable

    def contents(self, comment: str) -> Contents:
        """Read a job's comment; where it says nothing, what this adapter would have started."""
        try:
            told = json.loads(comment)
        except ValueError:
            told = None
        fields = cast("dict[str, object]", told) if isinstance(told, dict) else {}
        name, workers, offered = (fields.get(key) for key in ("name", "workers", "capabilities"))
        if not isinstance(name, str) or not isinstance(workers, int) or not isinstance(offered, dict):
            capabilities = dict(self._config.worker_config.per_worker_capabilities)
            return Contents(WORKER_NAME, self._config.slurm_config.workers_per_group, capabilities)
        quantities = cast("dict[str, object]", offered).items()
        return Contents(name, workers, {key: value for key, value in quantities if isinstance(value, int)})
