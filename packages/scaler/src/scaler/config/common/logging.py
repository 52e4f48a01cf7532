"""`LoggingConfig(paths, config_file, level)`."""

from scaler._packages import installed

with installed(__name__):
    from scaler_runtime.options import LoggingConfig

__all__ = ["LoggingConfig"]
