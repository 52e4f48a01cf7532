"""What the pages say about the program holds: options, policies, commands, and where links lead."""

import importlib
import re
import tomllib
from importlib.metadata import entry_points

import pytest
from markdown_it import MarkdownIt

from docs.option_tables import option_table
from scaler_adapter_container.config import ContainerWorkerAdapterConfig
from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_adapter_slurm.config import SlurmWorkerAdapterConfig
from scaler_cluster.config import ClusterConfig
from scaler_object_storage.config import ObjectStorageConfig
from scaler_runtime.config import option_rows
from scaler_runtime.options import LoggingConfig
from scaler_scheduler.config import SchedulerConfig
from scaler_scheduler.policies import registry
from scaler_scheduler.top.columns import COLUMNS
from scaler_scheduler.top.config import TopConfig
from tests.docs.blocks import PAGES, ROOT

DOCS = ROOT / "docs"
OURS = [*PAGES, ROOT / "ARCHITECTURE.md", *ROOT.glob("packages/*/README.md")]
COMMANDS = {
    "scaler_scheduler": SchedulerConfig,
    "scaler_cluster": ClusterConfig,
    "scaler_worker_adapter_native": NativeWorkerAdapterConfig,
    "scaler_worker_adapter_fixed_native": FixedNativeWorkerAdapterConfig,
    "scaler_worker_adapter_slurm": SlurmWorkerAdapterConfig,
    "scaler_worker_adapter_container": ContainerWorkerAdapterConfig,
    "scaler_object_storage_server": ObjectStorageConfig,
    "scaler_top": TopConfig,
}


def load(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def tables(page):
    """Return (class, classes without) of each directive for a table of options."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.info.startswith("{option-table}"):
            without = re.search(r":without: (.+)", token.content)
            yield load(token.info.split()[1]), [load(name) for name in without[1].split()] if without else []


def keys(config_class):
    return {row.key for row in option_rows(config_class)}


def test_every_command_is_known_here():
    installed = {point.name for point in entry_points(group="console_scripts") if point.module.startswith("scaler_")}
    assert installed == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_on_a_page(command):
    config_class = COMMANDS[command]
    shown = {key for shown_class, _ in tables(DOCS / "common_parameters.md") for key in keys(shown_class)}
    for page in DOCS.glob("*.md"):
        for shown_class, without in tables(page):
            if shown_class is config_class:
                shown |= keys(config_class) - {key for other in without for key in keys(other)}
    assert keys(config_class) <= shown


def test_a_table_has_a_line_for_each_option():
    lines = option_table(SchedulerConfig, [LoggingConfig]).splitlines()
    assert len(lines) == 2 + len(keys(SchedulerConfig) - keys(LoggingConfig))
    assert lines[2].startswith("| `scheduler_address` (positional) | required | ")
    assert any(line.startswith("| `--client-timeout-seconds`, `-ct` | 60 | ") for line in lines)


def test_every_policy_is_described_with_its_defaults():
    page = (DOCS / "scaling.md").read_text()
    for name in registry._ALLOCATE:
        assert f"| `{name}` |" in page
    for name, (defaults, _) in registry._SCALING.items():
        section = page.partition(f"### `{name}`\n")[2].partition("\n#")[0]
        assert section, name
        described = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section, re.MULTILINE))
        assert described == {key: f"{value:g}" for key, value in defaults.items()}


def test_every_column_of_the_monitor_is_described():
    described = []
    for names, keys_ in re.findall(r"^\| ([\w, ]+) \| ([\w, ]*)\| ", (DOCS / "monitor.md").read_text(), re.MULTILINE):
        described += zip(names.split(", "), keys_.strip().split(", "), strict=True)
    assert described[1:] == [(column.title, column.key) for column in COLUMNS]


def test_what_a_package_brings_is_what_the_page_says():
    page = (DOCS / "installing.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `([\w-]+)`[^|]* \| ([^|]+) \|$", page, re.MULTILINE)
    names = {path.name for path in ROOT.glob("packages/*")}
    assert rows
    for distribution, brings in rows:
        name = distribution.removeprefix("scaler-")
        listed = set(brings.replace("the facade", "scaler").split(", ")) & names
        assert siblings(name) == (names - {name} if brings == "all the others" else listed)


def siblings(name):
    """Return the names of our packages that are installed with one."""
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    direct = {match[1] for match in map(re.compile(r"scaler-?([a-z-]*)==").match, project["dependencies"]) if match}
    direct = {other or "scaler" for other in direct}
    return direct.union(*map(siblings, direct))


@pytest.mark.parametrize("page", OURS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for token in MarkdownIt().parse(page.read_text()):
        for part in token.children or ():
            target = part.attrGet("href") or part.attrGet("src")
            if target and "://" not in target:
                path, _, anchor = str(target).partition("#")
                linked = page.parent / path if path else page
                assert linked.exists(), target
                assert not anchor or anchor in anchors(linked), target


def anchors(page):
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "docs/scaling.md"])
def test_where_vanilla_is_introduced_the_page_says_that_it_counts_tasks(page):
    (text,) = re.findall(r"\*\*The ratios of `vanilla`[^\n]*\n(?:[^\n]+\n)+", (ROOT / page).read_text())
    assert "count tasks, not seconds" in text
    assert "vanilla(upper=1)" in (ROOT / page).read_text()
