"""Each example runs as its page says, finds the right answer, and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.integration.commands import Command

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SAYS = {
    "word_count": ["workers: 0 -> ", " -> 0", "Both ways found the same"],
    "monte_carlo": ["paths in", "by the formula 9.12180"],
    "thumbnails": ["thumbnails of", "astronaut.png"],
}


@pytest.mark.parametrize("example", SAYS)
def test_an_example_runs(example):
    command = Command(f"examples.{example}", environment={"PYTHONPATH": str(ROOT), "COLUMNS": "120"})
    try:
        code = command.process.wait(150)
    finally:
        command.stop()

    assert code == 0, command.output
    for text in SAYS[example]:
        assert text in command.output


def test_every_example_is_run_here():
    assert {path.stem for path in ROOT.glob("examples/*.py")} - {"__init__"} == set(SAYS)
