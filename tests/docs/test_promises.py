"""The list of promises names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROMISES = TESTS / "promises.md"
_NAMED = re.compile(r"(?P<file>[\w./-]+\.(?:py|txt|md))?(?:::(?P<test>\w+))?")


def rows():
    lines = PROMISES.read_text().splitlines()
    return [line for line in lines if line.startswith("|") and not line.startswith(("| promise", "| ---"))]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_promise_has_tests_that_exist(row):
    promise, tests = re.split(r"(?<!\\)\|", row)[1:3]
    file, found = None, 0
    for named in filter(None, (match[0] for match in _NAMED.finditer(tests))):
        match = _NAMED.fullmatch(named)
        file = match["file"] or file
        assert file is not None, f"{promise}: {named} is in no file"
        path = TESTS / file if (TESTS / file).exists() else TESTS.parent / file
        assert path.exists(), f"{promise}: there is no {file}"
        assert match["test"] is None or match["test"] in names_in(path), f"{promise}: {file} has no {match['test']}"
        found += 1
    assert found, f"{promise}: no test is named"


@cache
def names_in(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
