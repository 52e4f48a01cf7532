"""Each example runs as its page says, finds the right answer, and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.integration.commands import Command

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SAYS = {
    "word_count": ["workers: 0 -> ", " -> 0", "Both ways found the same"],
    "monte_carlo": ["simulating", "100%", "paths in", "by the formula 9.12180"],
    "thumbnails": ["making thumbnails", "100%", "thumbnails of", "astronaut.png"],
    "quadrature": ["deep, in", "on 2 workers", "integral 3.14159"],
    "grid_search": ["fitting", "100%", "on workers", "Both searches found the same."],
}
NEEDS = {"grid_search": ["sklearn"], "monte_carlo": ["numpy"], "thumbnails": ["PIL", "skimage"]}
"""What only the examples use. Where it cannot be installed, its example cannot be tested."""


@pytest.mark.parametrize("example", SAYS)
def test_an_example_runs(example):
    for module in NEEDS.get(example, ()):
        pytest.importorskip(module, reason=f"the example {example} needs {module}, which is not installed")
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
