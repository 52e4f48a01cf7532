"""The log: its formats, its files, and that several processes share a file without losing or mixing lines."""

import errno
import logging
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError
from scaler_runtime.logging import MidnightFileHandler, setup_logging, warn_if_exposed
from scaler_runtime.options import LoggingConfig

DAY = 24 * 3600.0
NOON = time.mktime((2024, 5, 17, 12, 0, 0, 0, 0, -1))


@pytest.fixture(autouse=True)
def _own_root(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.setLevel(level)


def record(message: str, at: float = NOON, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("name", level, "path/module.py", 12, message, None, None, "func")
    made.created = at
    return made


def log(message: str, level: int = logging.INFO) -> None:
    logging.getLogger("scaler.test").log(level, message)


STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}"


@pytest.mark.parametrize(
    ("level", "written"),
    [
        (logging.INFO, "INFO"),
        (logging.WARNING, "WARN"),
        (logging.ERROR, "EROR"),
        (logging.DEBUG, "DEBG"),
        (logging.CRITICAL, "CTIC"),
    ],
)
def test_lines_on_the_screen_and_in_files(capsys, tmp_path, level, written):
    path = tmp_path / "log"
    setup_logging(LoggingConfig(("-", str(path), "/dev/stdout"), level="DEBUG"))
    log("message", level)
    assert re.fullmatch(rf"\[{written}\]{STAMP}: message\n", capsys.readouterr().out)
    assert re.fullmatch(rf"\[{written}\]{STAMP}:test_logging:log:\d+: message\n", path.read_text())


def test_the_level_is_the_least_one_written(capsys):
    setup_logging(LoggingConfig(level="ERROR"))
    log("warning", logging.WARNING)
    log("error", logging.ERROR)
    assert "warning" not in (out := capsys.readouterr().out)
    assert "error" in out


def test_no_paths_are_silence(capsys):
    setup_logging(LoggingConfig(()))
    log("error", logging.ERROR)
    assert capsys.readouterr() == ("", "")


def test_setting_up_again_replaces_what_was_there(tmp_path):
    for name in ("first", "second"):
        setup_logging(LoggingConfig((str(tmp_path / name),)))
        log(name)
    assert "second" not in (tmp_path / "first").read_text()
    assert "second" in (tmp_path / "second").read_text()


def test_home_and_variables_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUBJECT", "tests")
    setup_logging(LoggingConfig(("~/$SUBJECT.log", "~/${SUBJECT}.log")))
    log("once")
    assert (tmp_path / "tests.log").read_text().count("once") == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path, before = tmp_path / "missing" / "log", list(logging.getLogger().handlers)
    with pytest.raises(ConfigError) as refused:
        setup_logging(LoggingConfig((str(path),)))
    assert str(refused.value) == f"logging_paths: cannot write to '{path}': No such file or directory"
    assert logging.getLogger().handlers == before
    with pytest.raises(ConfigError, match="embedded null byte"):
        setup_logging(LoggingConfig(("a\0b",)))


def test_a_config_file_replaces_the_other_options(tmp_path):
    path, target = tmp_path / "log.ini", tmp_path / "target"
    path.write_text(
        f"""
        [loggers]
        keys=root
        [handlers]
        keys=file
        [formatters]
        keys=short
        [logger_root]
        level=INFO
        handlers=file
        [handler_file]
        class=FileHandler
        args=({str(target)!r},)
        formatter=short
        [formatter_short]
        format=<%(message)s>
    """.replace("        ", "")
    )
    setup_logging(LoggingConfig(("/missing/log",), str(path), "CRITICAL"))
    log("message")
    assert target.read_text() == "<message>\n"


ONE_HANDLER = "[formatters]\nkeys=\n[handlers]\nkeys=a\n[handler_a]\nclass={}\nargs=({})\n[loggers]\nkeys=root"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read"),
        ("no section", "is not a fileConfig file"),
        ("", "cannot be used"),
        ("[formatters]\nkeys=", "cannot be used: KeyError: 'handlers'"),
        (ONE_HANDLER.format("NoSuch", ""), "cannot be used"),
        (ONE_HANDLER.format("StreamHandler", "1/0,"), "cannot be used"),
        (b"\xff", "is not a fileConfig file"),
    ],
)
def test_a_bad_config_file_is_one_line(tmp_path, content, text):
    path = tmp_path / "log.ini"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as refused:
        setup_logging(LoggingConfig(config_file=str(path)))
    said = str(refused.value)
    assert said.startswith("logging_config_file: ")
    assert str(path) in said
    assert text in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("address", "warned"), [("tcp://0.0.0.0:1", True), ("tcp://127.0.0.1:1", False), ("ipc://x", False)]
)
def test_reachable_addresses_are_warned_about(caplog, address, warned):
    logging.getLogger().addHandler(caplog.handler)
    warn_if_exposed(Address.from_string(address))
    assert [f"{address} can be reached from other machines" in line for line in caplog.messages] == [True] * warned


def read(path: Path) -> str:
    return path.read_text()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def opened(path):
    """Open a handler on the same file, as one more process would."""
    handlers: list[MidnightFileHandler] = []

    def opened(begun_at: float = NOON) -> MidnightFileHandler:
        handler = MidnightFileHandler(str(path))
        if not path.stat().st_size:
            handler._day = time.strftime("%Y-%m-%d", time.localtime(begun_at))
        handlers.append(handler)
        return handler

    yield opened
    for handler in handlers:
        handler.close()


def test_a_file_is_renamed_when_its_day_is_over(path, opened):
    handler = opened()
    for message, day in (("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 3)):
        handler.emit(record(message, NOON + day * DAY))
    assert read(path) == "e\n"
    assert read(path.with_name("log.2024-05-17")) == "a\nb\n"
    assert read(path.with_name("log.2024-05-18")) == "c\nd\n"


def test_several_writers_rename_it_once(path, opened):
    writers = [opened() for _ in range(4)]
    for day in (0, 1, 2):
        for number, writer in enumerate(writers):
            writer.emit(record(f"{day}{number}", NOON + day * DAY))
    assert read(path) == "20\n21\n22\n23\n"
    assert read(path.with_name("log.2024-05-18")) == "10\n11\n12\n13\n"
    assert sorted(one.name for one in path.parent.iterdir()) == ["log", "log.2024-05-17", "log.2024-05-18"]


def test_a_writer_that_slept_for_days_follows(path, opened):
    awake, asleep = opened(), opened()
    for day in (0, 1, 2):
        awake.emit(record(f"{day}", NOON + day * DAY))
    asleep.emit(record("x", NOON + 2 * DAY))
    assert read(path) == "2\nx\n"


def test_a_late_record_of_yesterday_does_not_rename(path, opened):
    handler = opened()
    handler.emit(record("new", NOON + DAY))
    handler.emit(record("late", NOON))
    assert read(path) == "new\nlate\n"


def test_a_file_of_an_earlier_day_is_renamed_by_the_first_record(path, opened):
    path.write_text("old\n")
    os.utime(path, (NOON, NOON))
    handlers = [opened(), opened()]
    assert read(path) == "old\n"
    for handler in handlers:
        handler.emit(record("new", NOON + DAY))
    assert read(path) == "new\nnew\n"
    assert read(path.with_name("log.2024-05-17")) == "old\n"


def test_an_older_log_is_never_overwritten(path, opened):
    path.with_name("log.2024-05-17").write_text("kept\n")
    handler = opened()
    handler.emit(record("a"))
    handler.emit(record("b", NOON + DAY))
    assert read(path.with_name("log.2024-05-17")) == "kept\n"
    assert read(path.with_name("log.2024-05-17.1")) == "a\n"


def test_a_removed_file_begins_again_the_next_day(path, opened):
    handler = opened()
    path.unlink()
    handler.emit(record("lost"))
    handler.emit(record("b", NOON + DAY))
    assert read(path) == "b\n"


def test_any_text_can_be_written(path, opened):
    opened().emit(record("\udc80 ü"))
    assert path.read_bytes() == b"\\udc80 \xc3\xbc\n"


def test_a_closed_handler_writes_nothing(path, opened):
    handler = opened()
    handler.close()
    handler.close()
    handler.emit(record("x"))
    assert read(path) == ""


def _write_many(path: Path, handler: MidnightFileHandler, name: int, start: float, count: int) -> None:
    """Write long records that walk through days, then end this forked process."""
    try:
        for number in range(count):
            handler.emit(record(f"{name}:{number}:" + str(name) * 20_000, start + number * DAY / 10))
    except BaseException:  # noqa: BLE001 - a forked child must not go on with the tests
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("is_inherited", [True, False])
def test_processes_share_a_file_without_loss_or_mixing(path, is_inherited):
    shared = MidnightFileHandler(str(path))
    start = time.time()
    children: list[int] = []
    for name in range(3):
        sys.stdout.flush()
        if (pid := os.fork()) == 0:
            _write_many(path, shared if is_inherited else MidnightFileHandler(str(path)), name, start, 40)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    shared.close()
    lines = [line for file in path.parent.iterdir() for line in read(file).splitlines()]
    expected = {f"{name}:{number}:" + str(name) * 20_000 for name in range(3) for number in range(40)}
    assert len(lines) == 120
    assert set(lines) == expected


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path, capfd, monkeypatch):
    handler = MidnightFileHandler(str(tmp_path / "log"))
    real, full = handler._descriptor, os.open("/dev/full", os.O_WRONLY)
    handler.emit(record("before"))
    handler._descriptor = full
    for number in range(100):
        handler.emit(record(f"lost {number}"))
    handler._descriptor = real
    handler.emit(record("after"))
    handler.emit(record("later"))

    (complaint,) = capfd.readouterr().err.splitlines()
    assert "No space left on device" in complaint
    assert (tmp_path / "log").read_text().splitlines() == [
        "before",
        "",
        "100 lines could not be written here: No space left on device",
        "after",
        "later",
    ]
    handler.close()
    os.close(full)


def test_a_screen_that_takes_nothing_costs_lines_and_nothing_else(capfd, monkeypatch):
    setup_logging(LoggingConfig())
    (screen,) = logging.getLogger().handlers

    def fail(_text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(screen, "stream", SimpleNamespace(write=fail, flush=lambda: None))
        log("lost")
    log("said")

    captured = capfd.readouterr()
    assert captured.err == ""
    assert "said" in captured.out
