"""Sections of TOML files: what they hold, and what is wrong with them, with the file and the place."""

import re

import pytest

from scaler_runtime.config import ConfigError, option_fields
from scaler_runtime.config_file import FileSection, read_section
from scaler_runtime.options import WorkerConfig

FIELDS = {item.key: item for item in option_fields(WorkerConfig)}


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "scaler.toml"

    def read(content, section="cluster"):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_section(str(path), section, FIELDS)

    read.path = str(path)
    return read


def texts(section):
    return {key: list(value.texts) for key, value in section.values.items()}


def test_values_become_what_would_be_written_on_the_command_line(read):
    section = read("""
        [cluster]
        per_worker_capabilities = ["gpu=2", "linux"]
        task_timeout_seconds = 7
        hard_processor_suspend = true
        death-timeout-seconds = "9"
        [other]
        per_worker_capabilities = 1
    """)
    assert texts(section) == {
        "per_worker_capabilities": ["gpu=2", "linux"],
        "task_timeout_seconds": ["7"],
        "hard_processor_suspend": ["true"],
        "death_timeout_seconds": ["9"],
    }
    assert section.values["death_timeout_seconds"].source == f"{read.path}: death-timeout-seconds"
    assert section.warning == ""


def test_an_empty_array_is_no_values(read):
    assert texts(read("[cluster]\nper_worker_capabilities = []")) == {"per_worker_capabilities": []}


def test_a_missing_section_is_a_warning(read):
    section = read("[claster]\nx = 1")
    assert section == FileSection(warning=f"{read.path} has no section [cluster]: defaults apply")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "[cluster]\ntask_timeout = 1",
            "{path}: [cluster] has an unknown key task_timeout, the nearest is task_timeout_",
        ),
        ("[cluster.per_worker_capabilities]\ngpu = 1", "per_worker_capabilities must be a comma list"),
        (
            "[cluster]\ntask_timeout_seconds = [1]",
            "must be a whole number >= 0, not [1] ({path}: task_timeout_seconds)",
        ),
        ("[cluster]\ntask_timeout_seconds = 1.5", "must be a whole number >= 0, not 1.5 ({path}: "),
        ("[cluster]\nper_worker_capabilities = [[]]", "must be a comma list"),
        (
            "[cluster]\ntask-timeout-seconds = 1\ntask_timeout_seconds = 1",
            "{path}: [cluster] has the key task_timeout_seconds tw",
        ),
        ("cluster = 5", "{path}: cluster must be a section, [cluster], not 5"),
        ("[[cluster]]", "{path}: cluster must be a section"),
        ("[cluster]\ntask_timeout_seconds =", "{path} is not a TOML file: Invalid value (at end of document)"),
        ("\n[cluster", "{path} is not a TOML file: Expected ']' at the end of a table"),
        ("a b\n", "(at line 1, column 3)"),
        (b"[cluster]\n# \xff", "{path} is not a TOML file: byte 12 is not UTF-8"),
        ("a = " + "[" * 20000, "{path} is not a TOML file"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(read, content, text):
    with pytest.raises(ConfigError, match=re.escape(text.format(path=read.path))):
        read(content)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"--config: cannot read .*missing\.toml: No such file or directory"):
        read_section(str(tmp_path / "missing.toml"), "cluster", FIELDS)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_section(str(tmp_path), "cluster", FIELDS)
