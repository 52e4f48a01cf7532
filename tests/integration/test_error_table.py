"""The contract's table of errors, row by row, as far as it concerns commands, in this process and as real ones.

Each is one line on stderr that names what is wrong, with the exit code promised and no traceback; no process is left.
"""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from scaler_client.client import Client
from scaler_client.exceptions import SchedulerWarning
from scaler_runtime.early_signals import STOP_SIGNALS
from tests.integration.commands import PATIENCE_SECONDS, Command, scheduler, wait_until

pytestmark = pytest.mark.integration

ADDRESS = "tcp://127.0.0.1:8516"
SCHEDULER = "scaler_scheduler"
NATIVE = "scaler_adapter_native"
FIXED = "scaler_adapter_fixed_native"
CLUSTER = "scaler_cluster"
STORAGE = "scaler_object_storage"
TOP = "scaler_scheduler.top"
COMMANDS = {
    SCHEDULER: ("scaler_scheduler", "scheduler", "scheduler_address"),
    NATIVE: ("scaler_worker_adapter_native", "native_worker_adapter", "scheduler_address"),
    FIXED: ("scaler_worker_adapter_fixed_native", "fixed_native_worker_adapter", "scheduler_address"),
    CLUSTER: ("scaler_cluster", "cluster", "scheduler_address"),
    STORAGE: ("scaler_object_storage_server", "object_storage_server", "object_storage_address"),
    TOP: ("scaler_top", "top", "monitor_address"),
}
"""Each with its name, its section and its positional argument."""
LOGGING = (SCHEDULER, NATIVE, FIXED, CLUSTER)
WORKERS = (NATIVE, FIXED, CLUSTER)
CONNECTING = (NATIVE, FIXED, CLUSTER, TOP)
FORMS = "tcp://host:port, tcp://[ipv6]:port or ipc://path"
LINE = "(command line"

BAD_ADDRESSES = (
    "localhost:8516",
    "udp://127.0.0.1:8516",
    "tcp://127.0.0.1",
    "tcp://127.0.0.1:99999",
    "tcp://127.0.0.1:-1",
    "tcp://h:x",
    "tcp://:8516",
    "tcp://::1:8516",
    "ipc://",
    "inproc://name",
    "",
)
BAD_CAPABILITIES = {
    "gpu=two": "gpu=two",
    "=1": "=1",
    "a,gpu=-2": "gpu=-2",
    "a,a": "a",
    "gpu=1.5": "gpu=1.5",
    "a,,b": "",
}
BAD_PRELOADS = ("os.getpid", "os:", ":getpid", "os:getpid(", "os:getpid(x)", "os:getpid(*[1])", "os:get pid", "")
BAD_POLICIES = {
    "scaling=bogus": ["allocate"],
    "allocate=even_load; scaling=bogus": ["bogus", "vanilla"],
    "allocate=bogus; scaling=no": ["bogus", "even_load"],
    "allocate=even_load": ["scaling"],
    "allocate=even_load; allocate=even_load; scaling=no": ["allocate", "twice"],
    "allocate=even_load; scaling=no; scaling=no": ["scaling", "twice"],
    "allocate=even_load; scaling=vanilla(upper=1,lower=5)": ["lower=5", "upper=1"],
    "allocate=even_load; scaling=vanilla(uper=1)": ["uper", "upper"],
    "allocate=even_load; scaling=vanilla(upper=x)": ["upper", "x"],
    "allocate=even_load; scaling=vanilla(upper=1,upper=2)": ["upper"],
    "allocate=even_load; scaling=vanilla(cooldown=-1)": ["cooldown"],
    "allocate=even_load; scaling=vanilla(lower=0)": ["lower"],
    "allocate=even_load; scaling=vanilla(upper=nan)": ["upper"],
    "allocate=even_load; scaling=no(upper=1)": ["no"],
    "allocate=even_load; scaling=vanilla(upper=1": ["scaling"],
    "": ["allocate"],
}

TABLE = {
    "unknown flag, abbreviation": [
        *((module, [ADDRESS, "--bogus-flag"], ["unknown option --bogus-flag", "nearest is --"]) for module in COMMANDS),
        *((module, [ADDRESS, "--conf", "x"], ["unknown option --conf,", "nearest is --config"]) for module in COMMANDS),
        (SCHEDULER, [ADDRESS, "--client-timeout", "5"], ["--client-timeout,", "--client-timeout-seconds"]),
        (SCHEDULER, [ADDRESS, "--client-timeout=5"], ["--client-timeout,", "--client-timeout-seconds"]),
        (SCHEDULER, [ADDRESS, "--protect"], ["--protect,", "--protected"]),
        (SCHEDULER, [ADDRESS, "--no-protected"], ["--no-protected,", "nearest is --"]),
        (SCHEDULER, [ADDRESS, "-l", "INFO"], ["unknown option -l,", "nearest is -l"]),
        (SCHEDULER, [ADDRESS, "--scheduler-address", "x"], ["scheduler_address is given without a flag"]),
        (NATIVE, [ADDRESS, "-e", "builtin"], ["unknown option -e,", "-el"]),
        (NATIVE, ["--max-worker", "4", ADDRESS], ["unknown option --max-worker,", "--max-workers"]),
        (FIXED, [ADDRESS, "-rr"], ["unknown option -rr,", "nearest is -r "]),
        (CLUSTER, [ADDRESS, "-n4"], ["unknown option -n4,", "nearest is -n "]),
        (CLUSTER, [ADDRESS, "--web-port", "1"], ["unknown option --web-port,"]),
        (STORAGE, [ADDRESS, "--logging-level", "INFO"], ["unknown option --logging-level,"]),
        (TOP, [ADDRESS, "--time", "3"], ["unknown option --time,", "--timeout"]),
        *((module, [ADDRESS, ADDRESS], [f"unexpected argument '{ADDRESS}'"]) for module in COMMANDS),
        *((module, [ADDRESS, "-c"], ["-c needs a value"]) for module in COMMANDS),
    ],
    "missing address": [
        (module, [], [key, f"the key {key} in section [{section}]", f"SCALER_{key.upper()}", "--config"])
        for module, (_, section, key) in COMMANDS.items()
    ],
    "`localhost:8516`, unknown scheme, missing or bad port": [
        *(
            (module, [text], [key, repr(text), FORMS, LINE])
            for module, (_, _, key) in COMMANDS.items()
            for text in BAD_ADDRESSES
        ),
        *((module, ["tcp://127.0.0.1:0"], ["port from 1 on", FORMS]) for module in CONNECTING),
        *((module, [ADDRESS, "-osa", "tcp://h:0"], ["object_storage_address", FORMS, "-osa"]) for module in LOGGING),
        (SCHEDULER, [ADDRESS, "--monitor-address", "inproc://x"], ["monitor_address", FORMS, "--monitor-address"]),
    ],
    "number out of range or not a number": [
        (NATIVE, [ADDRESS, "--max-workers", "-5"], ["max_workers", "-1 or a whole number >= 0", "-5", "--max-workers"]),
        (FIXED, [ADDRESS, "--max-workers", "-5"], ["max_workers", "whole number >= 0", "-5"]),
        *((module, [ADDRESS, "--max-workers", "abc"], ["max_workers", "'abc'"]) for module in (NATIVE, FIXED)),
        *((module, [ADDRESS, "--max-workers", ""], ["max_workers", "''"]) for module in (NATIVE, FIXED)),
        (FIXED, [ADDRESS, "-mw", "-1"], ["max_workers", "whole number >= 0", "-1", LINE]),
        (CLUSTER, [ADDRESS, "-n", "-1"], ["num_of_workers", "whole number >= 0", "-1", LINE]),
        (SCHEDULER, [ADDRESS, "-ct", "1.5"], ["client_timeout_seconds", "whole number >= 1", "'1.5'", "-ct"]),
        (SCHEDULER, [ADDRESS, "-mt", "-2"], ["max_number_of_tasks_waiting", "whole number >= -1", "-2"]),
        (SCHEDULER, [ADDRESS, "-trl", "-1"], ["task_retry_limit", "whole number >= 0", "-1"]),
        (SCHEDULER, [ADDRESS, "-ct"], ["-ct needs a value", "whole number >= 1"]),
        *(
            (SCHEDULER, [ADDRESS, flag, "0"], [key, "whole number >= 1", "0", flag])
            for flag, key in {
                "-ct": "client_timeout_seconds",
                "-wt": "worker_timeout_seconds",
                "-ot": "object_retention_seconds",
                "-ls": "load_balance_seconds",
                "-lbt": "load_balance_trigger_times",
                "-wit": "worker_io_threads",
            }.items()
        ),
        *(
            (module, [ADDRESS, flag, value], [key, "whole number >= ", value, flag])
            for module in WORKERS
            for flag, value, key in (
                ("-wtqs", "0", "per_worker_task_queue_size"),
                ("-his", "0", "heartbeat_interval_seconds"),
                ("-tts", "-1", "task_timeout_seconds"),
                ("-dts", "0", "death_timeout_seconds"),
                ("-gc", "0", "garbage_collect_interval_seconds"),
                ("-tm", "-1", "trim_memory_threshold_bytes"),
            )
        ),
        (TOP, [ADDRESS, "-t", "0"], ["timeout", "whole number >= 1", "0", "-t"]),
    ],
    "bad logging level, event loop, engine, policy": [
        *(
            (module, [ADDRESS, "-ll", text], ["logging_level", "CRITICAL, ERROR, WARNING, INFO, DEBUG", repr(text)])
            for module in LOGGING
            for text in ("info", "VERBOSE")
        ),
        *((module, [ADDRESS, "-el", "x"], ["event_loop", "builtin, uvloop", "'x'", "-el)"]) for module in LOGGING),
        (SCHEDULER, [ADDRESS, "-e", "x"], ["event_loop", "builtin, uvloop", "'x'", "-e)"]),
        (SCHEDULER, [ADDRESS, "-et", "other"], ["policy_engine_type", "simple", "'other'"]),
        *(
            (SCHEDULER, [ADDRESS, "-pc", text], ["policy_content: ", "-pc", *said])
            for text, said in BAD_POLICIES.items()
        ),
    ],
    "`worker_names` count wrong": [
        (CLUSTER, [ADDRESS, "-wn", "a,b", "-n", "3"], ["worker_names has 2 names, num_of_workers is 3"]),
        (CLUSTER, [ADDRESS, "-wn", "a|b", "-n", "1"], ["worker_names: ", "'a|b'", "vertical bar"]),
        (CLUSTER, [ADDRESS, "-wn", "a,,b", "-n", "3"], ["worker_names: ", "''"]),
    ],
    "bad capability, e.g. `gpu=two` or `=1`": [
        (module, [ADDRESS, "-pwc", text], ["per_worker_capabilities: ", f"the item '{item}'", "-pwc"])
        for module in WORKERS
        for text, item in BAD_CAPABILITIES.items()
    ],
    "malformed preload specification": [
        (module, [ADDRESS, "--preload", text], ["preload must be pkg.mod:func", repr(text), "--preload"])
        for module in WORKERS
        for text in BAD_PRELOADS
    ],
    "a log that cannot be written": [
        *((module, [ADDRESS, "-lp", "/nowhere/log"], ["logging_paths", "/nowhere/log"]) for module in LOGGING),
        *((module, [ADDRESS, "-lcf", "/nowhere/cf"], ["logging_config_file", "/nowhere/cf"]) for module in LOGGING),
    ],
}
"""Rows that end with exit code 2, most of them with the contract's own words: (command, arguments, what is said)."""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("SCALER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(module: str, *arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr("sys.argv", [module, *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(module, run_name="__main__")
        return left.value.code, *capsys.readouterr()

    return run


def assert_refused(outcome, module, *parts, exit_code=2):
    code, out, err = outcome
    assert (code, out) == (exit_code, ""), err
    assert err.count("\n") == 1
    assert err.startswith(f"{COMMANDS[module][0]}: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("row", "module", "arguments", "parts"), [(row, *case) for row, cases in TABLE.items() for case in cases]
)
def test_a_row_of_bad_options(run, row, module, arguments, parts):
    assert_refused(run(module, *arguments), module, *parts)


def test_uvloop_that_is_not_installed_is_named(run, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "uvloop" else find(name, *rest))
    for module in LOGGING:
        assert_refused(run(module, ADDRESS, "-el", "uvloop"), module, "uvloop", "pip install uvloop", "-el")


# ---- where a bad value comes from


@pytest.mark.parametrize("module", COMMANDS)
def test_a_bad_address_in_the_environment_is_named(run, monkeypatch, module):
    variable = f"SCALER_{COMMANDS[module][2].upper()}"
    monkeypatch.setenv(variable, "localhost")
    assert_refused(run(module), module, COMMANDS[module][2], "'localhost'", f"(environment variable {variable})")


@pytest.mark.parametrize(
    ("module", "variable", "text", "parts"),
    [
        (NATIVE, "MAX_WORKERS", "many", ["max_workers", "'many'"]),
        (CLUSTER, "NUM_OF_WORKERS", "", ["num_of_workers", "''"]),
        (SCHEDULER, "PROTECTED", "yes", ["protected must be true or false", "'yes'"]),
        (SCHEDULER, "POLICY_CONTENT", "scaling=no", ["policy_content", "allocate"]),
        (SCHEDULER, "LOGGING_LEVEL", "info", ["logging_level", "'info'"]),
        (FIXED, "PER_WORKER_CAPABILITIES", "gpu=two", ["per_worker_capabilities", "gpu=two"]),
        (FIXED, "RESTART", "1", ["restart must be true or false", "'1'"]),
        (TOP, "TIMEOUT", "soon", ["timeout", "'soon'"]),
    ],
)
def test_a_bad_variable_is_named(run, monkeypatch, module, variable, text, parts):  # noqa: PLR0917 - pytest names them
    monkeypatch.setenv(f"SCALER_{variable}", text)
    assert_refused(run(module, ADDRESS), module, *parts, f"(environment variable SCALER_{variable})")


def test_the_environment_cannot_spoil_what_the_command_line_says(run, monkeypatch):
    monkeypatch.setenv("SCALER_MAX_WORKERS", "many")
    assert_refused(run(NATIVE, ADDRESS, "-mw", "x"), NATIVE, "'x'", "(command line, -mw)")


WITH_ADDRESS = f"[scheduler]\nscheduler_address = '{ADDRESS}'\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("[scheduler]\nclient_timeout = 3", ["scaler.toml", "client_timeout,", "client_timeout_seconds"]),
        (
            WITH_ADDRESS + "client-timeout-seconds = 0",
            ["scaler.toml: client-timeout-seconds", "whole number >= 1", "0"],
        ),
        (WITH_ADDRESS + "client_timeout_seconds = 1.5", ["client_timeout_seconds", "1.5", "scaler.toml"]),
        (WITH_ADDRESS + "client_timeout_seconds = [1]", ["client_timeout_seconds", "[1]", "scaler.toml"]),
        (WITH_ADDRESS + "client_timeout_seconds = true", ["client_timeout_seconds", "true", "scaler.toml"]),
        (
            WITH_ADDRESS + "client_timeout_seconds = 1\nclient-timeout-seconds = 2",
            ["client_timeout_seconds twice", "scaler.toml"],
        ),
        ("[scheduler]\nscheduler_address = 'localhost'", ["scaler.toml: scheduler_address", FORMS]),
        (WITH_ADDRESS + "policy_content = 'nothing'", ["policy_content: ", "scaler.toml: policy_content"]),
        (WITH_ADDRESS + "protected = 1", ["protected must be true or false", "scaler.toml: protected"]),
        ("[scheduler\n", ["scaler.toml is not a TOML file", "at line 1, column 11"]),
        (b"[scheduler]\nx = '\xff'\n", ["scaler.toml is not a TOML file", "byte 17 is not UTF-8"]),
        ("scheduler = 3", ["scaler.toml", "scheduler must be a section", "[scheduler]"]),
        ("", ["scheduler_address is missing", "scaler.toml has no section [scheduler]"]),
    ],
)
def test_bad_files(run, tmp_path, content, parts):
    (tmp_path / "scaler.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(run(SCHEDULER, "--config", "scaler.toml"), SCHEDULER, *parts)


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_key_is_named_with_the_nearest(run, tmp_path, module):
    _, section, key = COMMANDS[module]
    (tmp_path / "scaler.toml").write_text(f"[{section}]\n{key}es = '{ADDRESS}'\n")
    assert_refused(
        run(module, ADDRESS, "-c", "scaler.toml"), module, "scaler.toml", f"unknown key {key}es", f"is {key}"
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_files_that_cannot_be_read(run, tmp_path, monkeypatch, module):
    assert_refused(run(module, ADDRESS, "-c", "missing.toml"), module, "missing.toml", "No such file or directory")
    assert_refused(run(module, ADDRESS, "-c", str(tmp_path)), module, str(tmp_path), "Is a directory")

    def refuse(path):  # the rights of a file mean nothing to the superuser, who may run this
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert_refused(run(module, ADDRESS, "-c", "secret.toml"), module, "secret.toml", "Permission denied")


@pytest.mark.parametrize("module", COMMANDS)
def test_help_has_every_option_with_its_default(run, module):
    code, out, err = run(module, "--help")
    assert (code, err) == (0, "")
    text = re.sub(r"[│\s]+", " ", out)
    assert ("--logging-level, -ll " in text) == ("[default: INFO]" in text) == (module in LOGGING)
    assert "--config, -c " in text
    assert ("--max-workers, -mw " in text) == (module in {NATIVE, FIXED})


# ---- real processes


def assert_ends(commands, exit_code, *parts):
    """Each of these (module, running command) ends with this code and one line that says this; nothing is left."""
    for module, command in commands:
        code = command.process.wait(PATIENCE_SECONDS)
        command.assert_nothing_left()
        name = COMMANDS[module][0]
        said = [line for line in command.lines if line.startswith(f"{name}: ")]
        assert code == exit_code, command.output
        assert len(said) == 1, command.output
        assert command.lines[-1] == said[0]
        assert "Traceback" not in command.output
        for part in parts:
            assert part in said[0]


def test_real_commands_end_with_one_line():
    bogus = [(module, Command(module, ADDRESS, "--bogus")) for module in COMMANDS]
    missing = [(module, Command(module)) for module in COMMANDS]
    assert_ends(bogus, 2, "unknown option --bogus")
    assert_ends(missing, 2, "is missing: give it as an argument")


def test_a_port_in_use_or_an_address_that_cannot_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        servers = [(module, Command(module, address)) for module in (SCHEDULER, STORAGE)]
        monitor = [(SCHEDULER, Command(SCHEDULER, "tcp://127.0.0.1:0", "-ma", address))]
        # An address for documentation (RFC 5737), which no machine has.
        foreign = [(module, Command(module, "tcp://192.0.2.1:8516")) for module in (SCHEDULER, STORAGE)]
        assert_ends([*servers, *monitor], 1, f"cannot listen on {address}: Address already in use")
        assert_ends(foreign, 1, "cannot listen on tcp://192.0.2.1:8516: Cannot assign requested address")


def test_no_scheduler_within_the_death_timeout():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        commands = [(module, Command(module, address, "-dts", "1", "-his", "1")) for module in WORKERS]
        silent = [(TOP, Command(TOP, address, "-t", "1"))]
        assert_ends(commands, 1, f"heard nothing from the scheduler at {address} for 1 seconds")
        assert_ends(silent, 1, f"no message from a monitor at {address} within 1 seconds")


@pytest.mark.parametrize(
    ("preload", "cause"),
    [
        ("no_such_module:load", "there is no module no_such_module"),
        ("os:no_such_function", "module os has no no_such_function"),
        ("os:sep", "sep is not callable"),
        ("operator:truediv(1, 0)", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_preload_that_cannot_be_carried_out(preload, cause):
    fixed_number = {FIXED: "-mw", CLUSTER: "-n"}
    with scheduler() as (_, address):
        commands = [
            (module, Command(module, address, flag, 1, "--preload", preload, "-lp"))
            for module, flag in fixed_number.items()
        ]
        for module, command in commands:
            assert command.process.wait(PATIENCE_SECONDS) == 1
            command.assert_nothing_left()
            assert command.lines[-1].startswith(f"{COMMANDS[module][0]}: its last worker has ended: preload ")
            assert command.lines[-1].endswith(cause)


def test_a_preload_that_fails_is_told_to_clients():
    with scheduler(policy="allocate=even_load; scaling=vanilla") as (_, address):
        command = Command(NATIVE, address, "-mw", 1, "--preload", "os:sep")
        try:
            with warnings.catch_warnings(record=True) as caught, Client(address) as client:
                warnings.simplefilter("always")
                client.submit(len, "waits")
                wait_until(lambda: any("sep is not callable" in str(item.message) for item in caught))
                assert {item.category for item in caught} == {SchedulerWarning}
            assert "sep is not callable" in command.output
        finally:
            assert command.stop() == 0


@pytest.mark.parametrize("module", COMMANDS)
def test_commands_are_installed_and_have_help(module):
    command = COMMANDS[module][0]
    ended = subprocess.run(
        [Path(sys.executable).with_name(command), "-h"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: {command} ")


@pytest.mark.parametrize("module", [*COMMANDS, "scaler_runtime.logging"])
def test_child_processes_need_no_command_line_library(module):
    """What children import of a package with a command, its configuration, is free of it."""
    name = module if module == "scaler_runtime.logging" else f"{module}.config"
    program = f"import sys, {name}; assert 'cyclopts' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
