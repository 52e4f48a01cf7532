"""`SchedulerClusterCombo`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_cluster.combo import SchedulerClusterCombo

__all__ = ["SchedulerClusterCombo"]
