"""Scheduler and workers of Scaler from one Python object: Cluster and SchedulerClusterCombo."""
