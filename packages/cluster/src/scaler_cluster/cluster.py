"""`Cluster`: a fixed number of workers on this machine, as an object that behaves like a process."""

from typing import Any, Protocol

from scaler_cluster.config import ClusterConfig
from scaler_cluster.keywords import configure
from scaler_cluster.process import ProgramProcess

DEFAULT_ADDRESS = "tcp://127.0.0.1:8516"

_NAMES = {"scheduler_address": "address", "num_of_workers": "n_workers"}


class ConfigSource(Protocol):
    """A configuration of another shape, which knows its equal here."""

    def to_options(self) -> ClusterConfig:
        """Return the same configuration as a `ClusterConfig`."""
        ...


class Cluster(ProgramProcess):
    """Workers for a scheduler that runs elsewhere; `start()` or `with` starts them, `shutdown()` ends them.

    Takes a configuration, or `address` (also as the first argument), `n_workers` and options. `n_workers` None: one
    less than there are CPUs, at least 1. Options are the worker, process and logging keys, `object_storage_address`,
    `preload` and `worker_names`.
    """

    def __init__(
        self,
        config: ClusterConfig | ConfigSource | str | None = None,
        n_workers: int | None = None,
        *,
        address: str = DEFAULT_ADDRESS,
        **options: Any,
    ) -> None:
        if config is None or isinstance(config, str):
            if n_workers is not None:
                options["n_workers"] = n_workers
            config = configure(ClusterConfig, {"address": config or address, **options}, _NAMES)
        elif options or n_workers is not None or address != DEFAULT_ADDRESS:
            raise TypeError("Cluster takes a configuration, or address, n_workers and options")
        elif not isinstance(config, ClusterConfig):
            config = config.to_options()
        self.config = config
        super().__init__("cluster", "scaler_cluster.server:run_child", config)

    def run(self) -> int:
        """Run the workers from this process, until it is told to stop or the last worker has ended."""
        from scaler_cluster.server import run

        return run(self.config)
