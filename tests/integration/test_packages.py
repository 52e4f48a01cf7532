"""Each package by itself: wheels of this checkout in fresh virtual environments, what comes along, and that it works.

Needs the package index for what others made. The environments are made once for all processes of a test run.
"""

import contextlib
import fcntl
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import hatchling.build
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration.commands import PATIENCE_SECONDS, Command

# With pip in place of uv, the first test of a process may have to wait for six environments.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
VERSION = runpy.run_path(str(ROOT / "VERSION.py"))["__version__"]

BELOW_ALL = {"scaler-runtime", "scaler-protocol"}
SERVER = {"scaler-object-storage"} | BELOW_ALL
CLIENT = {"scaler-client"} | SERVER
SCHEDULER = {"scaler-scheduler"} | SERVER
# Tasks may import the facade, so workers bring it.
NATIVE = {"scaler-adapter-native", "scaler-adapter-core", "scaler-worker", "scaler"} | CLIENT
FIXED_NATIVE = {"scaler-adapter-fixed-native"} | NATIVE
SLURM = {"scaler-adapter-slurm", "scaler-adapter-core"} | BELOW_ALL
CONTAINER = {"scaler-adapter-container", "scaler-adapter-core"} | BELOW_ALL
CLUSTER = {"scaler-cluster"} | FIXED_NATIVE | SCHEDULER

OURS = {
    "scaler-object-storage": SERVER,
    "scaler-client": CLIENT,
    "scaler-scheduler": SCHEDULER,
    "scaler-adapter-native": NATIVE,
    "scaler-adapter-fixed-native": FIXED_NATIVE,
    "scaler-adapter-slurm": SLURM,
    "scaler-adapter-container": CONTAINER,
    "scaler-cluster": CLUSTER,
}
RUNTIME_NEEDS = {"cyclopts", "psutil", "pycapnp", "pyzmq"}
# What others made and ours ask for by name; what these need themselves may come too.
DECLARED = {
    "scaler-object-storage": RUNTIME_NEEDS,
    "scaler-client": RUNTIME_NEEDS | {"cloudpickle"},
    "scaler-scheduler": RUNTIME_NEEDS | {"rich"},
    "scaler-adapter-native": RUNTIME_NEEDS | {"cloudpickle"},
    "scaler-adapter-fixed-native": RUNTIME_NEEDS | {"cloudpickle"},
    "scaler-adapter-slurm": RUNTIME_NEEDS,
    "scaler-adapter-container": RUNTIME_NEEDS | {"docker"},
    "scaler-cluster": RUNTIME_NEEDS | {"cloudpickle", "rich"},
}
COMMANDS = {
    "scaler-object-storage": {"scaler_object_storage_server"},
    "scaler-scheduler": {"scaler_scheduler", "scaler_top"},
    "scaler-adapter-native": {"scaler_worker_adapter_native"},
    "scaler-adapter-fixed-native": {"scaler_worker_adapter_fixed_native"},
    "scaler-adapter-slurm": {"scaler_worker_adapter_slurm"},
    "scaler-adapter-container": {"scaler_worker_adapter_container"},
    "scaler-cluster": {"scaler_cluster"},
}
WORKERS = {
    "scaler-adapter-native": ("scaler_worker_adapter_native", "vanilla(cooldown=0.5)", "--max-workers"),
    "scaler-adapter-fixed-native": ("scaler_worker_adapter_fixed_native", "no", "--max-workers"),
    "scaler-cluster": ("scaler_cluster", "no", "--num-of-workers"),
}
FROM_CHECKOUT = ("scaler-scheduler", "scaler-adapter-native")

# Where the worker and the client have their packages tells that they run in different environments.
CLIENT_PROGRAM = """
import sys
from scaler_client.client import Client

with Client(sys.argv[1]) as client:
    print(client.submit(pow, 2, 10).result())
    print(client.submit(len, bytes(1 << 20)).result())
    print(client.submit(eval, "__import__('sys').prefix").result())
    print(sys.prefix)
"""
COMBO_PROGRAM = """
from scaler_client.client import Client
from scaler_cluster.combo import SchedulerClusterCombo

combo = SchedulerClusterCombo(n_workers=1)
with Client(combo.get_address()) as client:
    print(client.submit(pow, 2, 10).result())
combo.shutdown()
"""
# Also the modules that a start imports late, or not at all.
IMPORT_PROGRAM = """
import importlib
import pkgutil
import sys

for name in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        importlib.import_module(module.name)
"""


class Environment:
    """A virtual environment with one package of ours, asked for by name."""

    def __init__(self, folder):
        self.folder = folder

    def __str__(self):
        return str(self.folder)

    @property
    def bin(self):
        return self.folder / "bin"

    @property
    def site(self):
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def installed(self):
        """Return what is installed, by name; what a new environment has from the start does not count."""
        found = {canonicalize_name(item.metadata["Name"]): item for item in distributions(path=[str(self.site)])}
        return {name: item for name, item in found.items() if name not in {"pip", "setuptools"}}

    def start(self, command, *arguments):
        # What is compiled stays in the environment and goes with it, not where `tests/conftest.py` lets it be kept.
        away = {"PYTHONPATH": "", "PYTHONPYCACHEPREFIX": ""}
        return Command(str(self.bin / command), *arguments, program=(), environment=away)

    def output(self, command, *arguments):
        """Run a command to its good end; nothing may be left of it."""
        process = self.start(command, *arguments)
        code = process.process.wait(PATIENCE_SECONDS)
        process.assert_nothing_left()
        assert code == 0, process.output
        return process.lines

    def program(self, text, *arguments):
        return self.output("python", "-c", text, *arguments)

    @contextlib.contextmanager
    def running(self, command, *arguments):
        process = self.start(command, *arguments)
        try:
            yield process
        finally:
            process.stop()


class Environments:
    """Makes wheels and environments when they are first asked for, in a folder that test processes may share."""

    def __init__(self, folder):
        self._folder = folder
        self._uv = os.environ.get("HATCH_UV") or shutil.which("uv")
        folder.mkdir(exist_ok=True)

    def of(self, distribution):
        """Return an environment with the wheel of a package, and what pip finds that it needs."""
        return self._made(distribution, lambda: ["--find-links", self._wheels(), f"{distribution}=={VERSION}"])

    def from_checkout(self, distribution, folders):
        """Return an environment with what pip makes of these folders of the checkout."""
        return self._made(f"{distribution}-from-checkout", lambda: [ROOT / folder for folder in folders])

    def _made(self, name, wanted):
        with self._alone():
            folder = self._folder / name
            made = folder / "made"
            if not made.exists():
                # What an attempt that failed left behind.
                shutil.rmtree(folder, ignore_errors=True)
                self._make(folder, wanted())
                made.touch()
            return Environment(folder)

    def wheel(self, distribution):
        """Return the wheel that an environment was made from."""
        (wheel,) = (self._folder / "wheels").glob(f"{distribution.replace('-', '_')}-{VERSION}-*.whl")
        return wheel

    def _wheels(self):
        """Return the folder of the wheels; only for one process at a time."""
        folder = self._folder / "wheels"
        if not folder.exists():
            fresh = self._folder / "wheels.part"
            for project in sorted(ROOT.glob("packages/*/pyproject.toml")):
                with contextlib.chdir(project.parent):
                    hatchling.build.build_wheel(str(fresh))
            fresh.rename(folder)
        return folder

    @contextlib.contextmanager
    def _alone(self):
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, folder, wanted):
        python = folder / "bin" / "python"
        if self._uv:
            self._run(self._uv, "venv", "--python", sys.executable, folder)
            self._run(self._uv, "pip", "install", "--python", python, *wanted)
        else:
            self._run(sys.executable, "-m", "venv", folder)
            self._run(python, "-m", "pip", "install", *wanted)

    def _run(self, *command):
        """Run an installer, away from the checkout and its environment."""
        ours = {"PYTHONPATH", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV"}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        done = subprocess.run(
            [*map(str, command)], cwd=self._folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return Environments(folder / "environments")


def declared_by(item):
    """Return the names of what an installed package asks for, without its extras."""
    needs = [Requirement(line) for line in item.requires or ()]
    return {canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})}


def needs_of(installed, names):
    """Return `names` and all that they need here, by what the installed packages say themselves."""
    found = set()
    open_names = set(names)
    while open_names:
        name = open_names.pop()
        found.add(name)
        open_names |= declared_by(installed[name]) - found
    return found


@cache
def scripts():
    """Return the commands of each package, from what the packages declare."""
    projects = [tomllib.loads(file.read_text())["project"] for file in ROOT.glob("packages/*/pyproject.toml")]
    return {project["name"]: set(project.get("scripts", {})) for project in projects}


@pytest.mark.parametrize("distribution", OURS)
def test_a_package_brings_what_it_needs_and_nothing_else(distribution, environments):
    environment = environments.of(distribution)
    installed = environment.installed()
    ours = {name for name in installed if name.startswith("scaler")}

    assert ours == OURS[distribution]
    assert set().union(*(declared_by(installed[name]) for name in ours)) - ours == DECLARED[distribution]
    assert set(installed) - ours == needs_of(installed, DECLARED[distribution])
    assert {file.name for file in environment.bin.glob("scaler*")} == set().union(*(scripts()[name] for name in ours))


def documented_folders():
    """Return the folders of the checkout that the documentation names for each package."""
    page = (ROOT / "docs" / "installing.md").read_text()
    rows = re.findall(r"^\| `(scaler-[\w-]+)` \| `packages/\{([\w,-]+)\}` \|$", page, re.MULTILINE)
    return {distribution: [f"packages/{name}" for name in names.split(",")] for distribution, names in rows}


def test_the_documentation_names_the_folders_of_each_package():
    documented = documented_folders()

    assert {"scaler-client", "scaler-scheduler", *WORKERS} - set(documented) == {"scaler-cluster"}  # which needs all
    for distribution, folders in documented.items():
        ours = {"scaler" if folder == "packages/scaler" else f"scaler-{folder[9:]}" for folder in folders}
        assert ours == OURS[distribution]


@pytest.mark.parametrize("distribution", FROM_CHECKOUT)
def test_a_package_from_the_checkout_is_the_same_as_from_its_wheel(distribution, environments):
    environment = environments.from_checkout(distribution, documented_folders()[distribution])
    installed = environment.installed()

    assert set(installed) == set(environments.of(distribution).installed())
    assert {name for name in installed if name.startswith("scaler")} == OURS[distribution]
    for name in OURS[distribution]:
        assert installed[name].version == VERSION
    for command in COMMANDS[distribution]:
        assert command in "\n".join(environment.output(command, "--help"))


def test_scheduler_and_workers_from_the_checkout_work_together(environments):
    folders = documented_folders()
    scheduler_only, workers = (environments.from_checkout(name, folders[name]) for name in FROM_CHECKOUT)
    policy = "allocate=even_load; scaling=vanilla(cooldown=0.5)"
    with scheduler_only.running("scaler_scheduler", "tcp://127.0.0.1:0", "-pc", policy) as process:
        address = process.wait_for_line("scheduler listening on").split()[-1]
        with workers.running("scaler_worker_adapter_native", address, "--max-workers", 1):
            calls(environments, address, workers)


@pytest.mark.parametrize("distribution", OURS)
def test_what_is_installed_is_of_this_checkout_and_complete(distribution, environments):
    environment = environments.of(distribution)
    for name in OURS[distribution]:
        with zipfile.ZipFile(environments.wheel(name)) as wheel:
            for file in wheel.namelist():
                if ".dist-info/" not in file:
                    assert (environment.site / file).read_bytes() == wheel.read(file)

    # The facade names what may be missing.
    environment.program(IMPORT_PROGRAM, *(name.replace("-", "_") for name in OURS[distribution] - {"scaler"}))


def test_every_command_is_known_here():
    assert {name: commands for name, commands in scripts().items() if commands} == COMMANDS


@pytest.mark.parametrize(
    ("distribution", "command"), [(name, command) for name in COMMANDS for command in sorted(COMMANDS[name])]
)
def test_a_command_of_a_lone_package_explains_itself(distribution, command, environments):
    assert command in "\n".join(environments.of(distribution).output(command, "--help"))


def calls(environments, address, workers):
    """Call from the client's environment what runs in that of the workers."""
    client = environments.of("scaler-client")
    assert client.program(CLIENT_PROGRAM, address) == ["1024", str(1 << 20), str(workers), str(client)]


@contextlib.contextmanager
def scheduler(environments, scaling, *arguments):
    policy = f"allocate=even_load; scaling={scaling}"
    with environments.of("scaler-scheduler").running(
        "scaler_scheduler", "tcp://127.0.0.1:0", "-pc", policy, *arguments
    ) as process:
        yield process.wait_for_line("scheduler listening on").split()[-1]


@pytest.mark.parametrize("distribution", WORKERS)
def test_scheduler_workers_and_client_of_three_environments_work_together(distribution, environments):
    command, scaling, number = WORKERS[distribution]
    workers = environments.of(distribution)
    with scheduler(environments, scaling) as address, workers.running(command, address, number, 1):
        calls(environments, address, workers)


def test_an_object_storage_of_another_environment_serves_them(environments):
    storage, workers = environments.of("scaler-object-storage"), environments.of("scaler-adapter-fixed-native")
    with storage.running("scaler_object_storage_server", "tcp://127.0.0.1:0") as process:
        stored = process.wait_for_line("object storage listening on").split()[-1]
        with (
            scheduler(environments, "no", "--object-storage-address", stored) as address,
            workers.running("scaler_worker_adapter_fixed_native", address, "--max-workers", 1),
        ):
            calls(environments, address, workers)


def test_the_cluster_alone_has_a_scheduler_workers_and_a_client(environments):
    assert "1024" in environments.of("scaler-cluster").program(COMBO_PROGRAM)


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("from scaler import Cluster", "scaler-cluster"),
        ("from scaler import SchedulerClusterCombo", "scaler-cluster"),
        ("from scaler import Scheduler", "scaler-scheduler"),
    ],
)
def test_the_facade_names_the_package_that_is_missing(statement, missing, environments):
    text = f"try:\n    {statement}\nexcept ImportError as error:\n    print(error)"

    (line,) = environments.of("scaler-adapter-native").program(text)

    assert line.endswith(f"needs the package {missing}: pip install {missing}")


def test_the_facade_gives_what_is_there(environments):
    assert environments.of("scaler-adapter-native").program("from scaler import Client; print(Client.__module__)") == [
        "scaler_client.client"
    ]
