"""Preload specifications: `pkg.mod:func` or `pkg.mod:func(literals)`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_worker.preload import PreloadSpecError, execute_preload

__all__ = ["PreloadSpecError", "execute_preload"]
