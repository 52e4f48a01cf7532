"""Sets up the log of a program."""

from collections.abc import Sequence

from scaler._packages import installed

with installed(__name__):
    from scaler_runtime.logging import setup_logging
    from scaler_runtime.options import LoggingConfig


def setup_logger(
    log_paths: Sequence[str] = ("/dev/stdout",), logging_config_file: str | None = None, logging_level: str = "INFO"
) -> None:
    """Send the log to the screen (`-` or /dev/stdout) and to files; `ValueError` says what cannot be used."""
    setup_logging(LoggingConfig(tuple(log_paths), logging_config_file, logging_level))
