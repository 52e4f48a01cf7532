"""`Cluster`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_cluster.cluster import Cluster

__all__ = ["Cluster"]
