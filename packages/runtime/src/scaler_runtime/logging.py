"""The log of a program: its formats, its files, its level. Set up once, before anything is logged."""

import fcntl
import logging
import os
import sys
import time
from logging import FileHandler, Formatter, Handler, LogRecord, StreamHandler
from pathlib import Path

from scaler_protocol.addresses import Address

from scaler_runtime.config import SCREEN, ConfigError, LoggingConfig

_SCREEN_FORMAT = "[%(level)s]%(asctime)s: %(message)s"
_FILE_FORMAT = "[%(level)s]%(asctime)s:%(module)s:%(funcName)s:%(lineno)d: %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S%z"
_LEVELS = {"WARNING": "WARN", "ERROR": "EROR", "DEBUG": "DEBG", "CRITICAL": "CTIC"}
_log = logging.getLogger(__name__)


def setup_logging(config: LoggingConfig) -> None:
    """Send the log where the configuration says; `ConfigError` names a file that cannot be used."""
    if config.config_file is not None:
        _read_config_file(config.config_file)
        return
    root = logging.getLogger()
    handlers: list[Handler] = [_handler(path) for path in dict.fromkeys(config.paths)]
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers or [logging.NullHandler()]:
        root.addHandler(handler)
    root.setLevel(config.level)


def warn_if_exposed(address: Address) -> None:
    """Say in one line that whoever reaches the port can run code, unless only this machine can reach it."""
    if not address.is_loopback:
        _log.warning("%s can be reached from other machines: whoever reaches it can run code here", address)


class MidnightFileHandler(FileHandler):
    """A file that is renamed to `<name>.<date>` when its day is over, once, though several processes write to it."""

    def __init__(self, path: str) -> None:
        """Open for appending; a file begun on an earlier day is renamed by the next line."""
        super().__init__(path, encoding="utf-8")
        about = Path(self.baseFilename).stat()
        self._day = _day(about.st_mtime if about.st_size else time.time())

    def emit(self, record: LogRecord) -> None:
        """Write a line, to a new file if the day has changed."""
        if self._day != _day(record.created):
            try:
                self._turn_page()
            except OSError:
                self.handleError(record)
            self._day = _day(record.created)
        super().emit(record)

    def _turn_page(self) -> None:
        path = Path(self.baseFilename)
        old = self.stream
        fcntl.flock(old, fcntl.LOCK_EX)  # whoever comes second finds another file under the name
        if path.exists() and _is_same(path, old.fileno()):
            path.rename(f"{path}.{self._day}")
        self.stream = self._open()
        old.close()


class _Formatter(Formatter):
    def format(self, record: LogRecord) -> str:
        record.level = _LEVELS.get(record.levelname, record.levelname)
        return super().format(record)


def _handler(path: str) -> Handler:
    if path in {"-", SCREEN}:
        screen = StreamHandler(sys.stdout)
        screen.setFormatter(_Formatter(_SCREEN_FORMAT, _DATE_FORMAT))
        return screen
    file_name = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - `~` may come from a variable
    try:
        handler = MidnightFileHandler(file_name)
    except OSError as error:
        raise ConfigError(f"logging_paths: cannot write to {file_name}: {error.strerror}") from error
    handler.setFormatter(_Formatter(_FILE_FORMAT, _DATE_FORMAT))
    return handler


def _read_config_file(path: str) -> None:
    import configparser
    import logging.config

    file_name = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - as above
    try:
        with open(file_name, encoding="utf-8") as file:  # noqa: PTH123 - a path from the user
            logging.config.fileConfig(file, disable_existing_loggers=False)
    except OSError as error:
        raise ConfigError(f"logging_config_file: cannot read {file_name}: {error.strerror}") from error
    except (ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"logging_config_file: {file_name} is not a fileConfig file: {reason}") from error


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _is_same(path: Path, descriptor: int) -> bool:
    return os.path.samestat(path.stat(), os.fstat(descriptor))
