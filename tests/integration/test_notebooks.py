"""Functions and classes of `__main__`: typed into an interpreter, in cells without a file, in scripts, from `-c`."""

import subprocess
import sys
import textwrap

import pytest

from scaler import SchedulerClusterCombo
from tests.integration.commands import PATIENCE_SECONDS
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration

CELLS = [
    """
    import dataclasses, enum, warnings
    from scaler import Client
    client = Client(ADDRESS)
    """,
    """
    def double(number):
        return 2 * number
    """,
    "print(client.map(double, [1, 2, 3]))",
    "print(client.map(lambda number: double(number) + 1, [1, 2, 3]))",
    """
    def double(number):
        return factor * number
    """,
    "factor = 20",
    "print(client.map(double, [1]), client.submit(double, 2).result())",
    "factor = 30",
    "print(client.map(double, [1]), client.submit(double, 2).result())",
    """
    def adder(offset):
        total = [0]
        def add(number):
            total[0] += 1
            return number + offset, total[0]
        return add
    """,
    "print(client.submit(adder(5), 1).result())",
    """
    def factorial(n):
        return n * factorial(n - 1) if n else 1
    """,
    "print(client.submit(factorial, 20).result())",
    """
    class Point:
        count = 0
        def __init__(self, x):
            self.x = x
        def moved(self, by):
            return type(self)(self.x + by)
        def __eq__(self, other):
            return type(self) is type(other) and self.x == other.x
    """,
    "print(client.submit(Point(1).moved, 2).result() == Point(3), client.map(Point, [4]) == [Point(4)])",
    "print(client.submit(lambda point: isinstance(point, Point), Point(1)).result())",
    """
    class Point(Point):
        def moved(self, by):
            return type(self)(self.x - by)
    """,
    "print(client.submit(Point(1).moved, 2).result() == Point(-1))",
    """
    @dataclasses.dataclass(frozen=True)
    class Pair:
        left: int
        right: "Pair | None" = None
    """,
    "print(client.submit(lambda pair: Pair(2, pair), Pair(1)).result())",
    """
    class Color(enum.Enum):
        RED = 1
    """,
    "print(client.map(lambda color: color is Color.RED, [Color.RED]), client.submit(lambda: Color.RED).result())",
    """
    class TooMuch(Exception):
        pass
    """,
    """
    def refuse(number):
        raise TooMuch(number)
    """,
    """
    try:
        client.submit(refuse, 7).result()
    except TooMuch as error:
        print(type(error) is TooMuch, error)
    """,
    """
    def tree(depth):
        if depth == 0:
            return 1
        with Client() as inner:
            return sum(inner.map(tree, [depth - 1] * 2))
    """,
    "print(client.submit(tree, 3).result())",
    "print(client.get({'x': 3, 'a': (double, 'x'), 'b': (lambda a: a + 1, 'a')}, ['b']))",
    "print(client.submit(lambda sent: len(sent), client.send_object([Point(1)] * 3)).result())",
    """
    class Marked(__import__("scaler").Serializer):
        @staticmethod
        def serialize(obj):
            import cloudpickle
            return b"m" + cloudpickle.dumps(obj)
        @staticmethod
        def deserialize(payload):
            import cloudpickle
            return cloudpickle.loads(bytes(payload)[1:])
    """,
    """
    with Client(ADDRESS, serializer=Marked()) as marked:
        print(marked.submit(double, 2).result())
    """,
    "client.disconnect()",
]

PRINTED = """\
[2, 4, 6]
[3, 5, 7]
[20] 40
[30] 60
(6, 1)
2432902008176640000
True True
True
True
Pair(left=2, right=Pair(left=1, right=None))
[True] Color.RED
True 7
8
{'b': 91}
3
60
"""

PROGRAM_OF_CELLS = """
import sys, types
main = sys.modules["__main__"] = types.ModuleType("__main__")  # as a notebook's kernel makes it: it has no file
for number, cell in enumerate(sys.stdin.read().split("# cell\\n")):
    exec(compile(cell, f"<ipython-input-{number}>", "exec"), vars(main))
"""


@pytest.fixture(scope="module")
def address():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=2, logging_level="WARNING") as combo:
        yield combo.get_address()
        note()


@pytest.fixture
def cells(address):
    return [textwrap.dedent(cell).strip("\n").replace("ADDRESS", repr(address)) + "\n" for cell in CELLS]


def printed_by(arguments, text=""):
    done = subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_an_interactive_interpreter(cells):
    """A block ends with an empty line; what is typed has no file and no source."""
    assert printed_by(["-i", "-q", "-c", "import sys; sys.ps1 = sys.ps2 = ''"], "\n".join(cells)) == PRINTED


def test_cells_of_a_notebook(cells):
    assert printed_by(["-c", PROGRAM_OF_CELLS], "# cell\n".join(cells)) == PRINTED


def test_a_script(cells, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("".join(cells))
    assert printed_by([str(script)]) == PRINTED


def test_a_program_on_the_command_line(cells):
    assert printed_by(["-c", "".join(cells)]) == PRINTED
