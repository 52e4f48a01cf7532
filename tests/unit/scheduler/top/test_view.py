"""Reports as text, and as what fits on a terminal of any size."""

import io

import pytest
from rich.console import Console

from scaler_scheduler.top import view
from scaler_scheduler.top.columns import Order
from tests.unit.scheduler.top.builders import report, worker

TABLES = ("scheduler", "object_manager", "task_manager", "scheduler_sent", "scheduler_received", "client_manager")
NATIVE = "Worker|NAT|" + "1" * 32 + "|" + "2" * 32


def drawn(made, width, height, order=Order()):  # noqa: B008 - it is immutable
    """Return the lines on a terminal."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    lines = console.render_lines(view.screen(made, order, console))
    return ["".join(segment.text for segment in line) for line in lines]


def test_plain_text_has_every_table_and_every_worker():
    made = report(
        worker(NATIVE, cpu=12.5, outstanding=3),
        *(worker(f"w{index}") for index in range(300)),
        clients=[("Client|a", 7)],
        tasks=[("Success", 53704)],
    )

    text = view.plain(made, Order(), "now")

    assert text.startswith("now\n")
    assert text.endswith("\n\n")
    assert all(title in text for title in TABLES)
    assert all(part in text for part in (NATIVE, "12.5%", "Client|a", "53,704", "Total 301 worker(s)", "[cpu]", "w299"))
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text


def test_names_are_not_taken_for_markup():
    assert "[red]Worker|[/]" in view.plain(report(worker("[red]Worker|[/]")), Order(), "")


def test_clients_with_many_tasks_come_first():
    text = view.plain(report(clients=[("few", 1), ("many", 9)]), Order(), "")

    assert text.index("many") < text.index("few")


def test_a_wide_terminal_shows_everything():
    made = report(worker(NATIVE), clients=[("Client|a", 7)])
    lines = drawn(made, 200, 40)

    assert all(title in lines[0] for title in TABLES)
    assert any(NATIVE in line for line in lines)
    assert view.SHORTCUTS in "\n".join(lines)


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
@pytest.mark.parametrize("height", [24, 30, 50])
def test_nothing_is_longer_than_the_terminal(width, height):
    states = [("WorkerDisconnecting", 10**9)] * 10
    workers = [worker(f"{index}{NATIVE}", group_id="a1b2c3d4e5f6-1") for index in range(100)]
    made = report(*workers, clients=[(NATIVE, 5)] * 30, sent=states, tasks=states)

    lines = drawn(made, width, height)

    if width >= 60:
        assert len(lines) <= height
        assert "more" in lines[-1]
        assert any("Worker|NAT" in line for line in lines)


def test_a_narrow_terminal_cuts_ids_before_numbers():
    (line,) = [line for line in drawn(report(worker(NATIVE)), 120, 40) if "Worker|" in line]

    assert NATIVE not in line
    assert "Worker|NAT|" in line
    assert line.rstrip().endswith("100")


def test_the_column_that_sorts_is_marked():
    assert any("[worker]" in line for line in drawn(report(worker("w")), 200, 40, Order("n")))


def test_before_the_first_report_it_says_what_it_waits_for():
    assert "tcp://127.0.0.1:1" in str(view.waiting("tcp://127.0.0.1:1"))
