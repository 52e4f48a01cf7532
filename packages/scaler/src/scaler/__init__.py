"""Distributed computing with workers on demand: the facade `from scaler import Client`.

Imports nothing before a name is used. A name whose package is not installed says what to install.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaler.cluster.scheduler import Scheduler
    from scaler_client.client import Client
    from scaler_client.future import ScalerFuture
    from scaler_client.serializer import Serializer
    from scaler_cluster.cluster import Cluster
    from scaler_cluster.combo import SchedulerClusterCombo

    __version__: str

__all__ = ["Client", "Cluster", "ScalerFuture", "Scheduler", "SchedulerClusterCombo", "Serializer", "__version__"]

_MODULES = {
    "Client": "scaler_client.client",
    "ScalerFuture": "scaler_client.future",
    "Serializer": "scaler_client.serializer",
    "Cluster": "scaler_cluster.cluster",
    "SchedulerClusterCombo": "scaler_cluster.combo",
    "Scheduler": "scaler.cluster.scheduler",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("scaler")
    elif name in _MODULES:
        from scaler._packages import load

        value = load(_MODULES[name], name)
    else:
        raise AttributeError(f"module 'scaler' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
