"""The log of a program: its formats, its files, its level. Set up once, before anything is logged."""

import contextlib
import fcntl
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from logging import Formatter, Handler, LogRecord, StreamHandler
from pathlib import Path
from typing import TextIO

from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError
from scaler_runtime.options import SCREEN, LoggingConfig

_SCREEN_FORMAT = "[%(level)s]%(asctime)s: %(message)s"
_FILE_FORMAT = "[%(level)s]%(asctime)s:%(module)s:%(funcName)s:%(lineno)d: %(message)s"
_COMPLAINT_SECONDS = 60.0
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S%z"
_LEVELS = {"WARNING": "WARN", "ERROR": "EROR", "DEBUG": "DEBG", "CRITICAL": "CTIC"}
_log = logging.getLogger(__name__)


def setup_logging(config: LoggingConfig) -> None:
    """Send the log where the configuration says; `ConfigError` names a file that cannot be used.

    Who was forked from a process whose log goes there already keeps what that has made: to make the same again would
    cost each worker a hundred pages of memory that it shares with the others.
    """
    if _inherited(config):
        return
    if config.config_file is not None:
        _read_config_file(config.config_file)
        return
    handlers = [_handler(path) for path in dict.fromkeys(_expanded(path) for path in config.paths)]
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers or [logging.NullHandler()]:
        root.addHandler(handler)
    root.setLevel(config.level)
    global _last  # noqa: PLW0603 - as the root logger is: one for the process
    _last = _SetUp(os.getpid(), config, root.handlers[:], root.level, sys.stdout)


def warn_if_exposed(address: Address) -> None:
    """Say in one line that whoever reaches the port can run code, unless only this machine can reach it."""
    if not address.is_loopback:
        _log.warning("%s can be reached from other machines: whoever reaches it can run code here", address)


class MidnightFileHandler(Handler):
    """Appends to a file that is renamed to `<name>.<date>` when its day is over.

    Any number of processes may write to the file, related by fork or not: each record is one appending write, so that
    records don't mix, and whoever writes first on a new day renames the file, the others follow.
    """

    def __init__(self, path: str) -> None:
        """Open for appending; a file of an earlier day is renamed by the next record. `OSError` if it can't be."""
        self.path = Path(path).absolute()
        self._lost = 0
        self._reason = ""
        self._complain_at = 0.0
        self._open()
        super().__init__()  # makes it known to the library, which a handler without a file must not be
        about = os.fstat(self._descriptor)
        self._day = _day(about.st_mtime if about.st_size else time.time())

    def emit(self, record: LogRecord) -> None:
        """Write a record, to a new file if its day is a later one."""
        if self._descriptor < 0:
            return
        try:
            data = f"{self.format(record)}\n".encode(errors="backslashreplace")
            day = _day(record.created)
            if day > self._day:
                self._turn_page()
                self._day = day
            self._write(data)
        except OSError as error:
            self._complain(error)
        except Exception:  # noqa: BLE001 - what can't be logged must not end the program (logging's own rule)
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        if self._lost:  # what was written of the last line that found no room has no end
            data = f"\n{self._lost} lines could not be written here: {self._reason}\n".encode() + data
        while data:
            data = data[os.write(self._descriptor, data) :]
        self._lost = 0

    def _complain(self, error: OSError) -> None:
        """Say on stderr, now and then, that nothing can be written: the disk is full, say. It may be soon."""
        self._lost += 1
        self._reason = error.strerror or str(error)
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAINT_SECONDS
            with contextlib.suppress(OSError):
                os.write(2, f"cannot write to {self.path}: {self._reason}; log lines are lost\n".encode())

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        finally:
            self.release()
        super().close()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _turn_page(self) -> None:
        # The lock is on a description of its own: one inherited by fork would be shared, and lock nobody out.
        lock = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            old = os.fstat(self._descriptor)
            if os.path.samestat(old, os.fstat(lock)) and self._is_named(old):  # nobody has renamed it yet
                self.path.rename(_free_name(f"{self.path}.{self._day}"))
            os.close(self._descriptor)
            self._open()
        finally:
            os.close(lock)

    def _is_named(self, about: os.stat_result) -> bool:
        try:
            return os.path.samestat(about, self.path.stat())
        except FileNotFoundError:
            return False


@dataclass(frozen=True, slots=True)
class _SetUp:
    """What `setup_logging` did last, and where."""

    pid: int
    config: LoggingConfig
    handlers: Sequence[Handler]
    level: int
    screen: TextIO


_last: _SetUp | None = None


def _inherited(config: LoggingConfig) -> bool:
    """Whether this process was forked from one that had done this, and nobody has changed it since."""
    root = logging.getLogger()
    return (
        _last is not None
        and _last.pid != os.getpid()
        and _last.config == config
        and _last.handlers == root.handlers
        and _last.screen is sys.stdout
        and _last.level == root.level
    )


class _Screen(StreamHandler[TextIO]):
    def handleError(self, record: LogRecord) -> None:  # noqa: N802 - the library's name
        if not isinstance(sys.exc_info()[1], OSError):  # else nobody reads it, or its disk is full
            super().handleError(record)


class _Formatter(Formatter):
    def format(self, record: LogRecord) -> str:
        record.level = _LEVELS.get(record.levelname, record.levelname)
        return super().format(record)


def _handler(path: str) -> Handler:
    if path == SCREEN:
        screen = _Screen(sys.stdout)
        screen.setFormatter(_Formatter(_SCREEN_FORMAT, _DATE_FORMAT))
        return screen
    try:
        handler = MidnightFileHandler(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"logging_paths: cannot write to {path!r}: {reason}", "logging_paths") from error
    handler.setFormatter(_Formatter(_FILE_FORMAT, _DATE_FORMAT))
    return handler


def _read_config_file(path: str) -> None:
    import configparser
    import logging.config

    file_name = _expanded(path)
    parser = configparser.ConfigParser()
    try:
        with Path(file_name).open(encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise _bad_config_file(f"cannot read {file_name!r}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _bad_config_file(f"{file_name!r} is not a fileConfig file: {error}") from error
    try:
        logging.config.fileConfig(parser, disable_existing_loggers=False)
    except Exception as error:  # it evaluates what the user wrote: anything may be raised
        raise _bad_config_file(f"{file_name!r} cannot be used: {type(error).__name__}: {error}") from error


def _bad_config_file(text: str) -> ConfigError:
    return ConfigError("logging_config_file: " + " ".join(text.split()), "logging_config_file")


def _expanded(path: str) -> str:
    if path == "-":
        return SCREEN
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - `~` may come from a variable


def _free_name(wanted: str) -> Path:
    """Return the name, or with a number after it if that is taken: an older log is never overwritten."""
    path, number = Path(wanted), 0
    while path.exists():
        number += 1
        path = Path(f"{wanted}.{number}")
    return path


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
