"""Runs the scenario files beside it: what the scheduler says must be what they say.

`REWRITE_SCENARIOS=1` writes what it says into them instead; read the difference before it is kept.
"""

import os
from pathlib import Path

import pytest

from tests.scenarios.language import RULE, Stage

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path):
    expected = path.read_text()
    actual = play(expected)

    if os.environ.get("REWRITE_SCENARIOS"):
        path.write_text(actual)
    assert actual.splitlines() == expected.splitlines()


def test_there_are_scenarios():
    assert len(FILES) >= 10


def play(text):
    """Return the scenario with what the scheduler says to it."""
    stage = Stage()
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        said, rule, _ = paragraph.partition(f"\n{RULE}")
        commands = [line for line in said.splitlines() if not line.startswith("#")]
        trace = stage.run(commands)
        assert rule or not commands, f"commands without {RULE}: {said}"
        paragraphs.append("\n".join([said, RULE, *trace]) if rule else said)
    return "\n\n".join(paragraphs) + "\n"
