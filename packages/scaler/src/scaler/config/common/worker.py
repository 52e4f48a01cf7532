"""`WorkerConfig`: the options of workers."""

from scaler._packages import installed

with installed(__name__):
    from scaler_runtime.options import WorkerConfig

__all__ = ["WorkerConfig"]
