"""`WorkerNames` and `WorkerCapabilities`; both read themselves with `from_string`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_runtime.options import WorkerCapabilities, WorkerNames

__all__ = ["WorkerCapabilities", "WorkerNames"]
