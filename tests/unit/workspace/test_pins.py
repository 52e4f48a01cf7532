"""The packages hold together: versions, pins, arrows, and what their wheels contain."""

import configparser
import contextlib
import runpy
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import hatchling.build
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
VERSION = runpy.run_path(str(ROOT / "VERSION.py"))["__version__"]
FOLDERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PROJECTS = {folder.name: tomllib.loads((folder / "pyproject.toml").read_text()) for folder in FOLDERS}
NAMES = sorted(PROJECTS)
FACADE = "scaler"

each_package = pytest.mark.parametrize("name", NAMES)


def distribution(name):
    return FACADE if name == FACADE else f"scaler-{name}"


def import_name(name):
    return distribution(name).replace("-", "_")


def source(name):
    return ROOT / "packages" / name / "src" / import_name(name)


def requirements(name):
    project = PROJECTS[name]["project"]
    extras = project.get("optional-dependencies", {})
    return [Requirement(line) for lines in (project["dependencies"], *extras.values()) for line in lines]


def siblings(name):
    """Import names of the packages that a package depends on, extras apart."""
    ours = {distribution(other): import_name(other) for other in NAMES}
    needed = (Requirement(line).name for line in PROJECTS[name]["project"]["dependencies"])
    return {ours[dependency] for dependency in needed if dependency in ours}


def reachable(name):
    """Import names of all packages below a package. Workers bring the facade for their tasks, but do not import it."""
    names = {import_name(other): other for other in NAMES}
    below = set()
    for sibling in siblings(name) - {FACADE}:
        below |= {sibling} | reachable(names[sibling])
    return below


@pytest.fixture(scope="session")
def contracts():
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """One opened wheel for each package, built in this process: no network, no environment."""
    folder = tmp_path_factory.mktemp("wheels")
    with contextlib.ExitStack() as stack:
        opened = {}
        for package in FOLDERS:
            with contextlib.chdir(package):
                file = hatchling.build.build_wheel(str(folder))
            opened[package.name] = stack.enter_context(zipfile.ZipFile(folder / file))
        yield opened


def lines(contract, option):
    return set(contract[option].split())


@each_package
def test_siblings_are_pinned_to_the_one_version(name):
    ours = {distribution(other) for other in NAMES}
    pins = {str(need.specifier) for need in requirements(name) if need.name in ours}

    assert pins <= {f"=={VERSION}"}
    assert not {need.name for need in requirements(name) if need.name.startswith("scaler")} - ours


@each_package
def test_a_package_is_named_after_its_folder_and_takes_the_one_version(name):
    project = PROJECTS[name]["project"]

    assert project["name"] == distribution(name)
    assert project["dynamic"] == ["version"]
    assert PROJECTS[name]["tool"]["hatch"]["version"] == {"path": "../../VERSION.py"}
    assert project["requires-python"] == ">=3.11"


@each_package
def test_a_package_has_what_every_package_has(name):
    folder = ROOT / "packages" / name

    assert (source(name) / "py.typed").is_file()
    assert (source(name) / "__init__.py").is_file()
    assert distribution(name) in (folder / "README.md").read_text()
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_all_installs_everything():
    extra = {Requirement(line).name for line in PROJECTS[FACADE]["project"]["optional-dependencies"]["all"]}

    assert extra == {distribution(name) for name in NAMES if name != FACADE}
    assert PROJECTS[FACADE]["project"]["dependencies"] == []


@each_package
def test_a_package_is_known_to_the_import_contracts(name, contracts):
    assert import_name(name) in lines(contracts["importlinter"], "root_packages")
    if name == FACADE:
        return

    layers = set(contracts["importlinter:contract:layers"]["layers"].replace("|", " ").split())
    assert import_name(name) in layers
    assert import_name(name) in lines(contracts["importlinter:contract:facade"], "source_modules")
    assert import_name(name) in lines(contracts["importlinter:contract:pycapnp"], "source_modules")


@each_package
def test_a_package_may_import_what_it_depends_on_and_nothing_else(name, contracts):
    if name == FACADE:
        return
    others = {import_name(other) for other in NAMES} - {import_name(name), FACADE}
    section = f"importlinter:contract:{name}"
    forbidden = lines(contracts[section], "forbidden_modules") if section in contracts else set()

    assert forbidden == others - reachable(name)


@each_package
def test_a_wheel_contains_its_package_and_nothing_else(name, wheels):
    files = set(wheels[name].namelist())
    expected = {
        str(Path(import_name(name)) / file.relative_to(source(name)))
        for file in source(name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert {file for file in files if ".dist-info/" not in file} == expected
    assert f"{import_name(name)}-{VERSION}.dist-info/licenses/LICENSE" in files


@each_package
def test_a_wheel_says_its_version_and_needs(name, wheels):
    metadata = message_from_bytes(wheels[name].read(f"{import_name(name)}-{VERSION}.dist-info/METADATA"))
    needs = {Requirement(line).name for line in metadata.get_all("Requires-Dist", [])}

    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "Apache-2.0"
    assert needs == {need.name for need in requirements(name)}


def test_the_protocol_ships_its_schema(wheels):
    assert any(
        file.startswith("scaler_protocol/schema/") and file.endswith(".capnp") for file in wheels["protocol"].namelist()
    )


@each_package
def test_the_commands_of_a_package_exist_in_it(name):
    for target in PROJECTS[name]["project"].get("scripts", {}).values():
        module, _, function = target.partition(":")
        package, _, file = module.partition(".")

        assert package == import_name(name)
        assert f"def {function}(" in (source(name) / f"{file.replace('.', '/')}.py").read_text()


def test_ci_runs_the_command_of_the_readme():
    command = next(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if "hatch run check" in line)

    assert command in (ROOT / "README.md").read_text()
