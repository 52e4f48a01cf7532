"""The facade: nothing is imported before it is used, and what is missing is named."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version

import pytest

import scaler

NAMES = ["Client", "ScalerFuture", "Serializer", "Cluster", "SchedulerClusterCombo", "Scheduler"]


def python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return ast.literal_eval(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_exports_what_is_promised(name):
    assert isinstance(getattr(scaler, name), type)
    assert name in dir(scaler)


def test_importing_it_imports_nothing_else():
    loaded = python("import sys; before = set(sys.modules); import scaler; print(sorted(set(sys.modules) - before))")

    assert [module for module in loaded if module.partition(".")[0] != "scaler"] == python(
        "import sys; before = set(sys.modules); import typing; print(sorted(set(sys.modules) - before))"
    )


def test_a_cluster_does_not_bring_the_client_or_the_command_line():
    loaded = python("import sys; from scaler import SchedulerClusterCombo; print(sorted(sys.modules))")

    assert not {"zmq", "capnp", "cloudpickle", "cyclopts", "psutil", "asyncio"} & set(loaded)


HEAVY = {"zmq", "capnp", "cyclopts", "psutil", "asyncio", "numpy", "multiprocessing", "concurrent.futures.process"}
OTHERS = {"scaler_scheduler", "scaler_worker", "scaler_cluster", "scaler_adapter_core", "scaler_runtime"}


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("from scaler import Client", HEAVY | OTHERS),
        ("from scaler import ScalerFuture, Serializer", HEAVY | OTHERS),
        ("import scaler.client.object_reference, scaler.client.serializer.default", HEAVY | OTHERS),
        ("import scaler.utility.exceptions, scaler.utility.graph.optimization", HEAVY | OTHERS),
        ("import scaler.config.defaults, scaler.utility.network_util", HEAVY | OTHERS | {"scaler_client"}),
        ("import scaler.config.types.zmq", HEAVY | OTHERS | {"scaler_client"}),
        ("from scaler import Cluster", HEAVY | {"scaler_client.client"}),
    ],
)
def test_a_name_brings_no_more_than_it_needs(statement, without):
    loaded = python(f"import sys; {statement}; print(sorted(sys.modules))")

    assert not without & set(loaded)


def test_the_version_is_that_of_the_distribution():
    assert scaler.__version__ == version("scaler")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        scaler.Klient  # noqa: B018


def test_a_missing_package_is_named_with_what_installs_it():
    said = python(
        "import sys; sys.modules['scaler_client'] = None\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'scaler_client' else find(name)\n"
        "said = []\n"
        "try:\n    from scaler import Client\n"
        "except ImportError as error:\n    said.append(str(error))\n"
        "try:\n    import scaler.client.client\n"
        "except ImportError as error:\n    said.append(str(error))\n"
        "print(said)"
    )

    assert said == [
        "scaler.Client needs the package scaler-client: pip install scaler-client",
        "scaler.client.client needs the package scaler-client: pip install scaler-client",
    ]


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages(scaler.__path__, "scaler."):
        importlib.import_module(module.name)
