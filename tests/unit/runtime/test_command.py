"""Reading the options of one start: the sources and their order, and one line about whatever is wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command, run_command
from scaler_runtime.config import ConfigError, Option, Options, at_least
from scaler_runtime.options import LoggingConfig, WorkerNames
from scaler_runtime.program import ProgramError
from scaler_runtime.transport import BindError


@dataclass(frozen=True)
class Config(Options):
    """A command for tests."""

    address: Annotated[Address, Option("where", positional=True)]
    tasks: Annotated[int, Option("how many", "-mt", at_least(-1))] = 10
    text: Annotated[str, Option("what", "-t")] = "words"
    is_on: Annotated[bool, Option("whether", "-i")] = False
    names: Annotated[WorkerNames, Option("who", "-wn")] = field(default_factory=WorkerNames)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.names and len(self.names) > self.tasks:
            raise ConfigError("more names than tasks", "names", "tasks")


COMMAND = Command("test", "sec", Config, {"-x": "text"})
ADDRESS = "tcp://127.0.0.1:8516"
KEYS = ("ADDRESS", "TASKS", "TEXT", "IS_ON", "NAMES", "LOGGING_PATHS", "LOGGING_LEVEL")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(f"SCALER_{key}", raising=False)


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "test.toml"

    def write(content: str) -> str:
        path.write_text(content)
        return str(path)

    return write


def parse(*arguments: str) -> Config:
    config = parse_command(COMMAND, arguments).config
    assert config is not None
    return config


def test_a_missing_address_may_come_from_three_places():
    assert refusal() == (
        "address is missing: give it as an argument, as the key address in section [sec] of the file given with "
        "--config, or in the environment variable SCALER_ADDRESS"
    )


def refusal(*arguments: str, command: Command = COMMAND) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_command(command, arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_defaults_apply():
    assert parse(ADDRESS) == Config(Address.from_string(ADDRESS))


@pytest.mark.parametrize(
    "arguments",
    [
        (ADDRESS, "--tasks", "4"),
        (ADDRESS, "--tasks=4"),
        ("-mt", "4", ADDRESS),
        ("-mt=4", ADDRESS),
        ("--tasks", "9", ADDRESS, "--tasks", "4"),
        ("--tasks", "4", "--", ADDRESS),
    ],
)
def test_flags_may_be_written_in_several_ways(arguments):
    assert parse(*arguments) == Config(Address.from_string(ADDRESS), tasks=4)


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (("-lp", "a", "b"), ("a", "b")),
        (("-lp", "a", "-lp", "b"), ("a", "b")),
        (("-lp",), ()),
        (("--logging-paths", "-"), ("/dev/stdout",)),
        (("-lp", "a,b", "-"), ("a,b", "/dev/stdout")),
        (("--logging-paths=a", "-mt", "4"), ("a",)),
    ],
)
def test_paths_are_zero_or_more(arguments, paths):
    assert parse(ADDRESS, *arguments).logging_config.paths == paths


def test_paths_with_an_equals_sign_leave_the_next_argument_alone():
    config = parse("--logging-paths=a", ADDRESS)
    assert (config.logging_config.paths, str(config.address)) == (("a",), ADDRESS)


def test_negative_numbers_texts_with_dashes_and_aliases():
    assert parse(ADDRESS, "-mt", "-1").tasks == -1
    assert parse(ADDRESS, "-t=-a b=c").text == "-a b=c"
    assert parse(ADDRESS, "-x", "y").text == "y"
    assert parse(ADDRESS, "-i").is_on
    assert not parse(ADDRESS, "--is-on=false").is_on


def test_each_source_gives_way_to_the_one_before(monkeypatch, toml):
    file = toml(f'[sec]\naddress = "{ADDRESS}"\ntasks = 3\ntext = "file"\nis-on = true\nlogging_paths = "f,g"')
    config = parse("-c", file)
    assert (str(config.address), config.tasks, config.text, config.is_on) == (ADDRESS, 3, "file", True)
    assert config.logging_config.paths == ("f,g",)
    monkeypatch.setenv("SCALER_TASKS", "4")
    monkeypatch.setenv("SCALER_IS_ON", "false")
    monkeypatch.setenv("SCALER_LOGGING_PATHS", "e, h")
    monkeypatch.setenv("SCALER_UNKNOWN", "x")
    monkeypatch.setenv("SCALER_CONFIG", "/missing")
    monkeypatch.setenv("SCALER_NETWORK_BACKEND", "tcp_zmq")
    config = parse("--config", file)
    assert (config.tasks, config.text, config.is_on) == (4, "file", False)
    assert config.logging_config.paths == ("e", "h")
    config = parse("--config", file, "-mt", "5", "-i", "-lp", "c")
    assert (config.tasks, config.text, config.is_on) == (5, "file", True)
    assert config.logging_config.paths == ("c",)


def test_lists_come_from_everywhere(monkeypatch, toml):
    assert list(parse(ADDRESS, "-wn", "a, b").names) == ["a", "b"]
    assert list(parse(ADDRESS, "-c", toml('[sec]\nnames = ["a", "b"]')).names) == ["a", "b"]
    assert list(parse(ADDRESS, "-c", toml('[sec]\nnames = "a,b"')).names) == ["a", "b"]
    assert parse(ADDRESS, "-c", toml("[sec]\nnames = []\nlogging_paths = []")).logging_config.paths == ()
    monkeypatch.setenv("SCALER_NAMES", "c,d")
    assert list(parse(ADDRESS).names) == ["c", "d"]


def test_positionals_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SCALER_ADDRESS", ADDRESS)
    assert str(parse().address) == ADDRESS


def test_a_missing_section_is_a_warning_and_defaults_apply(toml):
    file = toml("[other]\nx = 1")
    parsed = parse_command(COMMAND, [ADDRESS, "-c", file])
    assert parsed.config == Config(Address.from_string(ADDRESS))
    assert parsed.warnings == [f"{file} has no section [sec]: defaults apply"]
    assert refusal("-c", file).endswith(f"; {file} has no section [sec]: defaults apply")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--task", "4", ADDRESS), "unknown option --task, the nearest is --tasks (command line)"),
        ((ADDRESS, "--logging-p", "x"), "unknown option --logging-p, the nearest is --logging-paths (command line)"),
        ((ADDRESS, "--tasks_", "4"), "unknown option --tasks_, the nearest is --tasks (command line)"),
        ((ADDRESS, "--is_on"), "unknown option --is_on, the nearest is --is-on (command line)"),
        ((ADDRESS, "--no-is-on"), "unknown option --no-is-on, the nearest is --is-on (command line)"),
        ((ADDRESS, "--version"), "unknown option --version, the nearest is "),
        ((ADDRESS, "-m", "4"), "unknown option -m, the nearest is -mt (command line)"),
        ((ADDRESS, "-mt4"), "unknown option -mt4, the nearest is -mt (command line)"),
        ((ADDRESS, "-it", "x"), "unknown option -it, the nearest is -i (command line)"),
        ((ADDRESS, "-cfile"), "unknown option -cfile, the nearest is -c (command line)"),
        ((ADDRESS, "-t", "-a"), "unknown option -a, the nearest is "),
        (("--address", ADDRESS), "unknown option --address: address is given without a flag (command line)"),
        ((ADDRESS, "more"), "unexpected argument 'more' (command line)"),
        ((ADDRESS, "--tasks"), "--tasks needs a value: a whole number >= -1 (command line)"),
        ((ADDRESS, "-mt", "-i"), "-mt needs a value: a whole number >= -1 (command line)"),
        ((ADDRESS, "-c"), "-c needs a value: the path of a file (command line)"),
        ((ADDRESS, "-c", "a", "-c", "b"), "--config takes one file (command line)"),
        ((ADDRESS, "--tasks", "abc"), "tasks must be a whole number >= -1, not 'abc' (command line, --tasks)"),
        ((ADDRESS, "-mt", "-5"), "tasks must be a whole number >= -1, not -5 (command line, -mt)"),
        ((ADDRESS, "-mt="), "tasks must be a whole number >= -1, not '' (command line, -mt)"),
        ((ADDRESS, "--is-on=maybe"), "is_on must be true or false (command line, --is-on)"),
        ((ADDRESS, "-ll", "info"), "logging_level must be one of CRITICAL, ERROR, WARNING, INFO, DEBUG, not 'info'"),
        (("localhost:8516",), "address: 'localhost:8516' is not an address: a scheme, a host and a port are needed"),
        ((ADDRESS, "-wn", "a,,b"), "names: the name '' is not valid"),
        ((ADDRESS, "-wn", "a,b", "-mt", "1"), "more names than tasks (names: command line, -wn, tasks: "),
        ((ADDRESS, "-mt", "a\nb"), "tasks must be a whole number >= -1, not 'a\\nb'"),
    ],
)
def test_the_command_line_is_refused_with_one_line(arguments, text):
    assert refusal(*arguments).startswith(text)


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("SCALER_TASKS", "abc", "tasks must be a whole number >= -1, not 'abc' (environment variable SCALER_TASKS)"),
        ("SCALER_TASKS", "-2", "tasks must be a whole number >= -1, not -2 (environment variable SCALER_TASKS)"),
        ("SCALER_IS_ON", "1", "is_on must be true or false, not '1' (environment variable SCALER_IS_ON)"),
        ("SCALER_NAMES", "a|b", "names: the name 'a|b' is not valid"),
        ("SCALER_LOGGING_LEVEL", "LOUD", "logging_level must be one of "),
    ],
)
def test_variables_are_refused_with_their_name(monkeypatch, variable, value, text):
    monkeypatch.setenv(variable, value)
    said = refusal(ADDRESS)
    assert said.startswith(text)
    assert said.endswith(f"(environment variable {variable})")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("task = 1", "{file}: [sec] has an unknown key task, the nearest is tasks"),
        ('tasks = "abc"', "tasks must be a whole number >= -1, not 'abc' ({file}: tasks)"),
        ("tasks = -2", "tasks must be a whole number >= -1, not -2 ({file}: tasks)"),
        ("tasks = true", "tasks must be a whole number >= -1, not 'true' ({file}: tasks)"),
        ("is-on = 0", "is_on must be true or false, not '0' ({file}: is-on)"),
        ('names = ["a", ""]', "names: the name '' is not valid, allowed is a comma list of names, none of them empty"),
        ("logging_level = []", "logging_level must be one of CRITICAL, ERROR, WARNING, INFO, DEBUG, not [] ({file}: "),
        ("tasks =", "{file} is not a TOML file: Invalid value (at end of document)"),
        ('names = "a"\ntasks = 0', "more names than tasks (names: {file}: names, tasks: {file}: tasks)"),
    ],
)
def test_files_are_refused_with_file_and_key(toml, content, text):
    file = toml(f"[sec]\n{content}")
    assert refusal(ADDRESS, "-c", file).startswith(text.format(file=file))


def test_a_cross_check_names_defaults_too(toml):
    command = Command("test", "sec", Config, {})
    said = refusal(ADDRESS, "-wn", ",".join("abcdefghijk"), command=command)
    assert said == "more names than tasks (names: command line, -wn, tasks: default)"


@pytest.mark.parametrize("arguments", [("-h",), ("--help",), ("--bogus", "-h"), (ADDRESS, "--tasks", "--help")])
def test_help_lists_every_option_with_its_default(capsys, arguments):
    assert parse_command(COMMAND, arguments).config is None
    text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    for part in (
        "A command for tests.",
        "ADDRESS where [required]",
        "--tasks, -mt how many [default: 10]",
        "--text, -t, -x what [default: words]",
        "--is-on, -i whether [default: off]",
        "--names, -wn who [default: empty]",
        "--logging-paths, -lp - or /dev/stdout: the screen; else files, rotated at midnight [default: /dev/stdout]",
        "--logging-config-file, -lcf Python fileConfig file; replaces the two others [default: none]",
        "--config, -c TOML file with options [default: none]",
        "--help, -h",
        "SCALER_ADDRESS",
        "[sec]",
    ):
        assert part in text


@pytest.fixture
def run(monkeypatch, capsys):
    def run(action, *arguments: str, config_class: type = Config) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr("sys.argv", ["test", *arguments])
        with pytest.raises(SystemExit) as left:
            run_command("test", "sec", config_class, action)
        return left.value.code, *capsys.readouterr()

    return run


def raising(error: BaseException):
    def action(_config: Config) -> int:
        raise error

    return action


def test_a_command_ends_with_what_its_run_returns(run):
    seen: list[Config] = []

    def action(config: Config) -> int:
        seen.append(config)
        return 7

    assert run(action, ADDRESS) == (7, "", "")
    assert seen == [Config(Address.from_string(ADDRESS))]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("cannot write to 'x'", "logging_paths"), 2, "test: cannot write to 'x'\n"),
        (ProgramError("no scheduler\nfor 3 seconds"), 1, "test: no scheduler for 3 seconds\n"),
        (BindError(98, "cannot listen on tcp://h:1: in use"), 1, "test: cannot listen on tcp://h:1: in use\n"),
        (KeyboardInterrupt(), 0, ""),
    ],
)
def test_failures_are_one_line_and_an_exit_code(run, error, code, text):
    assert run(raising(error), ADDRESS) == (code, "", text)


def test_bad_options_end_a_command_before_it_runs(run):
    code, out, err = run(raising(AssertionError()), ADDRESS, "--tasks", "x")
    assert (code, out) == (2, "")
    assert err == "test: tasks must be a whole number >= -1, not 'x' (command line, --tasks)\n"


def test_help_ends_a_command_before_it_runs(run):
    code, out, err = run(raising(AssertionError()), "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: test [OPTIONS] ADDRESS")


def test_warnings_are_said_before_a_command_runs(run, toml):
    file = toml("")
    assert run(lambda _config: 0, ADDRESS, "-c", file) == (
        0,
        "",
        f"test: warning: {file} has no section [sec]: defaults apply\n",
    )


def test_a_command_may_have_no_groups_and_no_positional(run):
    @dataclass(frozen=True)
    class Small(Options):
        """Small."""

        timeout: Annotated[int, Option("seconds", "-t", at_least(1))] = 5

    seen: list[Sequence[int]] = []
    assert run(lambda config: seen.append(config.timeout) or 0, "-t", "6", config_class=Small)[0] == 0
    assert seen == [6]
