"""How options are declared, checked, read, described and put together."""

import pickle
from dataclasses import MISSING, dataclass, field
from typing import Annotated

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.config import (
    ConfigError,
    Option,
    OptionRow,
    Options,
    at_least,
    build,
    nearest,
    one_of,
    option_fields,
    option_rows,
)


@dataclass(frozen=True)
class Inner(Options):
    paths: Annotated[tuple[str, ...], Option("whither", "-p", key="inner_paths")] = ("a", "b")
    kind: Annotated[str, Option("which", "-ki", one_of("red", "green"))] = "red"


@dataclass(frozen=True)
class Outer(Options):
    address: Annotated[Address, Option("where", positional=True)]
    other: Annotated[Address | None, Option("where else", "-o", default_text="next to it")] = None
    number: Annotated[int, Option("how many", "-n", at_least(1))] = 3
    is_on: Annotated[bool, Option("whether", "-i")] = False
    inner: Inner = field(default_factory=Inner)


ADDRESS = Address("tcp", "h", 1)


def test_options_are_listed_in_order_groups_included():
    fields = option_fields(Outer)
    assert [item.key for item in fields] == ["address", "other", "number", "is_on", "inner_paths", "kind"]
    assert [item.path for item in fields][-1] == ("inner", "kind")
    assert fields[4].flag == "--inner-paths"
    assert fields[4].variable == "SCALER_INNER_PATHS"
    assert [item.kind for item in fields] == [Address, Address, int, bool, tuple, str]
    assert [item.is_list for item in fields] == [False, False, False, False, True, False]
    assert fields[0].default is MISSING


def test_options_are_described_for_documentation():
    assert option_rows(Outer) == [
        OptionRow("address", "", "address", "SCALER_ADDRESS", "Address", "", "where"),
        OptionRow("--other", "-o", "other", "SCALER_OTHER", "Address", "next to it", "where else"),
        OptionRow("--number", "-n", "number", "SCALER_NUMBER", "a whole number >= 1", "3", "how many"),
        OptionRow("--is-on", "-i", "is_on", "SCALER_IS_ON", "true or false", "off", "whether"),
        OptionRow(
            "--inner-paths", "-p", "inner_paths", "SCALER_INNER_PATHS", "zero or more strings", "a, b", "whither"
        ),
        OptionRow("--kind", "-ki", "kind", "SCALER_KIND", "one of red, green", "red", "which"),
    ]


def test_a_configuration_is_built_from_values_by_name():
    values = {"address": ADDRESS, "number": 5, "inner_paths": (), "kind": "green"}
    assert build(Outer, values) == Outer(ADDRESS, number=5, inner=Inner((), "green"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"number": 0}, "number must be a whole number >= 1, not 0"),
        ({"number": "5"}, "number must be a whole number >= 1, not '5'"),
        ({"number": True}, "number must be a whole number >= 1, not True"),
        ({"number": None}, "number must be a whole number >= 1, not None"),
        ({"is_on": 1}, "is_on must be true or false, not 1"),
        ({"kind": "blue"}, "kind must be one of red, green, not 'blue'"),
        ({"inner_paths": "a"}, "inner_paths must be zero or more strings, not 'a'"),
        ({"other": "tcp://h:1"}, "other must be Address, not 'tcp://h:1'"),
    ],
)
def test_python_values_are_checked(values, text):
    with pytest.raises(ConfigError) as refused:
        build(Outer, {"address": ADDRESS, **values})
    assert str(refused.value) == text
    assert refused.value.keys == tuple(values)
    assert isinstance(refused.value, ValueError)


def test_texts_are_read_by_kind():
    address, _, number, is_on, paths, kind = option_fields(Outer)
    assert address.read(["tcp://h:1"]) == ADDRESS
    assert number.read(["-5"]) == -5  # the range is checked when the configuration is built
    assert [is_on.read([text]) for text in ("true", "False")] == [True, False]
    assert paths.read(["x", "y"]) == ("x", "y")
    assert kind.read(["red"]) == "red"


@pytest.mark.parametrize(
    ("index", "text", "said"),
    [
        (0, "h:1", "address: 'h:1' is not an address"),
        (2, "abc", "number must be a whole number >= 1, not 'abc'"),
        (2, "", "number must be a whole number >= 1, not ''"),
        (3, "yes", "is_on must be true or false, not 'yes'"),
    ],
)
def test_texts_that_cannot_be_read_are_refused(index, text, said):
    with pytest.raises(ConfigError, match=said) as refused:
        option_fields(Outer)[index].read([text])
    assert refused.value.keys == (option_fields(Outer)[index].key,)


def test_errors_and_configurations_can_be_pickled():
    error = pickle.loads(pickle.dumps(ConfigError("text", "a", "b")))
    assert (str(error), error.keys) == ("text", ("a", "b"))
    assert pickle.loads(pickle.dumps(Outer(ADDRESS))) == Outer(ADDRESS)


def test_an_option_has_one_type():
    @dataclass(frozen=True)
    class Bad(Options):
        value: Annotated[int | str, Option("x")] = 1

    with pytest.raises(TypeError, match="one type"):
        option_fields(Bad)


def test_the_nearest_name_begins_so_or_is_spelled_so():
    names = ["--max-workers", "--max-number-of-tasks-waiting", "--preload"]
    assert nearest("--max-w", names) == "--max-workers"
    assert nearest("--prelaod", names) == "--preload"
    assert nearest("zzz", names) in names
