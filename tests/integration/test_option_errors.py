"""The table of errors of the contract for bad options: every command, in this process and as a real one.

Each is exit 2 and one line on stderr without a traceback, that names what is wrong.
"""

import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ADDRESS = "tcp://127.0.0.1:8516"
SCHEDULER = "scaler_scheduler"
NATIVE = "scaler_adapter_native"
FIXED = "scaler_adapter_fixed_native"
CLUSTER = "scaler_cluster"
COMMANDS = {
    SCHEDULER: "scaler_scheduler",
    NATIVE: "scaler_worker_adapter_native",
    FIXED: "scaler_worker_adapter_fixed_native",
    CLUSTER: "scaler_cluster",
}
SECTIONS = {
    SCHEDULER: "scheduler",
    NATIVE: "native_worker_adapter",
    FIXED: "fixed_native_worker_adapter",
    CLUSTER: "cluster",
}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    for key in ("SCHEDULER_ADDRESS", "OBJECT_STORAGE_ADDRESS", "MAX_WORKERS", "NUM_OF_WORKERS", "LOGGING_LEVEL"):
        monkeypatch.delenv(f"SCALER_{key}", raising=False)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(module: str, *arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr("sys.argv", [module, *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(module, run_name="__main__")
        return left.value.code, *capsys.readouterr()

    return run


def assert_refused(outcome, module, *parts):
    code, out, err = outcome
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert err.startswith(f"{COMMANDS[module]}: ")
    for part in parts:
        assert part in err


FORMS = "tcp://host:port, tcp://[ipv6]:port or ipc://path"
LINE = "(command line"

CASES = [
    # unknown flag, abbreviation
    (SCHEDULER, [ADDRESS, "--bogus-flag"], ["unknown option --bogus-flag", "nearest is --"]),
    (SCHEDULER, [ADDRESS, "--client-timeout", "5"], ["--client-timeout,", "--client-timeout-seconds"]),
    (SCHEDULER, [ADDRESS, "--protect"], ["--protect,", "--protected"]),
    (SCHEDULER, [ADDRESS, "-l", "INFO"], ["unknown option -l,", "nearest is -l"]),
    (NATIVE, [ADDRESS, "-e", "builtin"], ["unknown option -e,", "-el"]),
    (NATIVE, ["--max-worker", "4", ADDRESS], ["unknown option --max-worker,", "--max-workers"]),
    (FIXED, [ADDRESS, "-rr"], ["unknown option -rr,", "nearest is -r "]),
    (CLUSTER, [ADDRESS, "-n4"], ["unknown option -n4,", "nearest is -n "]),
    (CLUSTER, [ADDRESS, "--web-port", "1"], ["unknown option --web-port,"]),
    # missing address
    *(
        (module, [], ["scheduler_address", f"[{SECTIONS[module]}]", "SCALER_SCHEDULER_ADDRESS", "--config"])
        for module in COMMANDS
    ),
    # addresses
    *(
        (module, [text], ["scheduler_address", repr(text), FORMS, LINE])
        for module in COMMANDS
        for text in ("localhost:8516", "udp://127.0.0.1:8516", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://h:x")
    ),
    *((module, ["tcp://127.0.0.1:0"], ["scheduler_address", "port from 1 on", FORMS]) for module in (NATIVE, CLUSTER)),
    (SCHEDULER, [ADDRESS, "-osa", "tcp://h:0"], ["object_storage_address", FORMS, "-osa"]),
    (SCHEDULER, [ADDRESS, "--monitor-address", "inproc://x"], ["monitor_address", FORMS, "--monitor-address"]),
    # numbers
    (NATIVE, [ADDRESS, "--max-workers", "-5"], ["max_workers", "-1 or a whole number >= 0", "-5", "--max-workers"]),
    (NATIVE, [ADDRESS, "--max-workers", "abc"], ["max_workers", "-1 or a whole number >= 0", "'abc'"]),
    (FIXED, [ADDRESS, "-mw", "-1"], ["max_workers", "whole number >= 0", "-1", LINE]),
    (CLUSTER, [ADDRESS, "-n", "-1"], ["num_of_workers", "whole number >= 0", "-1", LINE]),
    (CLUSTER, [ADDRESS, "-wtqs", "0"], ["per_worker_task_queue_size", "whole number >= 1", "0", "-wtqs"]),
    (SCHEDULER, [ADDRESS, "-ct", "1.5"], ["client_timeout_seconds", "whole number >= 1", "'1.5'", "-ct"]),
    (SCHEDULER, [ADDRESS, "-mt", "-2"], ["max_number_of_tasks_waiting", "whole number >= -1", "-2"]),
    (SCHEDULER, [ADDRESS, "-wit", "0"], ["worker_io_threads", "whole number >= 1", "0"]),
    (SCHEDULER, [ADDRESS, "-ct"], ["-ct needs a value", "whole number >= 1"]),
    # choices
    *(
        (module, [ADDRESS, "-ll", "info"], ["logging_level", "CRITICAL, ERROR, WARNING, INFO, DEBUG", "'info'"])
        for module in COMMANDS
    ),
    (SCHEDULER, [ADDRESS, "-el", "asyncio"], ["event_loop", "builtin, uvloop", "'asyncio'"]),
    (SCHEDULER, [ADDRESS, "-e", "x"], ["event_loop", "builtin, uvloop", "'x'", "-e)"]),
    (SCHEDULER, [ADDRESS, "-et", "other"], ["policy_engine_type", "simple", "'other'"]),
    (SCHEDULER, [ADDRESS, "-pc", "scaling=bogus"], ["policy_content: ", "-pc"]),
    (SCHEDULER, [ADDRESS, "-pc", "allocate=even_load; scaling=bogus"], ["policy_content: ", "bogus", "vanilla"]),
    (
        SCHEDULER,
        [ADDRESS, "-pc", "allocate=even_load; scaling=vanilla(upper=1,lower=5)"],
        ["policy_content: ", "lower", "upper", "5", "1"],
    ),
    # names, capabilities, preload
    (CLUSTER, [ADDRESS, "-wn", "a,b", "-n", "3"], ["worker_names has 2 names, num_of_workers is 3"]),
    (CLUSTER, [ADDRESS, "-wn", "a|b", "-n", "1"], ["worker_names: ", "'a|b'", "vertical bar"]),
    (CLUSTER, [ADDRESS, "-wn", "a,,b", "-n", "3"], ["worker_names: ", "''"]),
    *(
        (module, [ADDRESS, "-pwc", text], ["per_worker_capabilities: ", f"the item '{item}'", "-pwc"])
        for module in (NATIVE, FIXED, CLUSTER)
        for text, item in (("gpu=two", "gpu=two"), ("=1", "=1"), ("a,gpu=-2", "gpu=-2"), ("a,a", "a"))
    ),
    *(
        (module, [ADDRESS, "--preload", "os.getpid"], ["preload must be pkg.mod:func", "'os.getpid'", "--preload"])
        for module in (NATIVE, FIXED, CLUSTER)
    ),
]


@pytest.mark.parametrize(("module", "arguments", "parts"), CASES)
def test_bad_options(run, module, arguments, parts):
    assert_refused(run(module, *arguments), module, *parts)


def test_a_bad_variable_is_named(run, monkeypatch):
    monkeypatch.setenv("SCALER_MAX_WORKERS", "many")
    assert_refused(run(NATIVE, ADDRESS), NATIVE, "max_workers", "'many'", "environment variable SCALER_MAX_WORKERS")


def test_uvloop_that_is_not_installed_is_named(run, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "uvloop" else find(name, *rest))
    assert_refused(run(SCHEDULER, ADDRESS, "-el", "uvloop"), SCHEDULER, "uvloop", "pip install uvloop", "-el")


WITH_ADDRESS = f"[scheduler]\nscheduler_address = '{ADDRESS}'\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("[scheduler]\nclient_timeout = 3", ["scaler.toml", "client_timeout,", "client_timeout_seconds"]),
        (
            WITH_ADDRESS + "client-timeout-seconds = 0",
            ["scaler.toml: client-timeout-seconds", "whole number >= 1", "0"],
        ),
        ("[scheduler]\nscheduler_address = 'localhost'", ["scaler.toml: scheduler_address", FORMS]),
        (WITH_ADDRESS + "policy_content = 'nothing'", ["policy_content: ", "scaler.toml: policy_content"]),
        (WITH_ADDRESS + "protected = 1", ["protected must be true or false", "scaler.toml: protected"]),
        ("[scheduler\n", ["scaler.toml is not a TOML file", "at line 1, column 11"]),
        ("", ["scheduler_address is missing", "scaler.toml has no section [scheduler]"]),
    ],
)
def test_bad_files(run, tmp_path, content, parts):
    (tmp_path / "scaler.toml").write_text(content)
    assert_refused(run(SCHEDULER, "--config", "scaler.toml"), SCHEDULER, *parts)


def test_a_missing_file(run):
    assert_refused(run(SCHEDULER, ADDRESS, "-c", "missing.toml"), SCHEDULER, "missing.toml", "No such file")


@pytest.mark.parametrize("module", COMMANDS)
def test_help_has_every_option_with_its_default(run, module):
    code, out, err = run(module, "--help")
    assert (code, err) == (0, "")
    text = re.sub(r"[│\s]+", " ", out)
    assert "--logging-level, -ll " in text
    assert "[default: INFO]" in text
    assert "--config, -c " in text
    assert ("--max-workers, -mw " in text) == (module in {NATIVE, FIXED})


# ---- real processes


def start(module, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.mark.parametrize(
    ("module", "arguments", "parts"),
    [
        (SCHEDULER, [], ["scheduler_address is missing"]),
        (SCHEDULER, ["localhost:8516"], [FORMS]),
        (NATIVE, [ADDRESS, "--max-workers", "-5"], ["max_workers"]),
        (FIXED, [ADDRESS, "--bogus"], ["unknown option --bogus"]),
        (CLUSTER, [ADDRESS, "-pwc", "gpu=two"], ["gpu=two"]),
    ],
)
def test_real_commands_end_with_one_line(module, arguments, parts):
    ended = start(module, *arguments)
    assert_refused((ended.returncode, ended.stdout, ended.stderr), module, *parts)


@pytest.mark.parametrize("command", COMMANDS.values())
def test_commands_are_installed_and_have_help(command):
    ended = subprocess.run(
        [Path(sys.executable).with_name(command), "-h"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: {command} ")


@pytest.mark.parametrize("module", [*COMMANDS, "scaler_runtime.logging"])
def test_child_processes_need_no_command_line_library(module):
    """What children import of a package with a command, its configuration, is free of it."""
    name = module if "." in module else f"{module}.config"
    ended = start("timeit", "-n1", "-r1", f"import sys, {name}; assert 'cyclopts' not in sys.modules")
    assert ended.returncode == 0, ended.stderr
