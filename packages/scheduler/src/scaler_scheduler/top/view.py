"""A report as tables: what fits on a terminal, or everything as plain text. Reads no clock and writes nothing."""

import io
from collections.abc import Iterable, Sequence
from itertools import islice

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scaler_protocol.monitor_messages import Count, MonitorReport, WorkerFigures
from scaler_scheduler.top import figures
from scaler_scheduler.top.columns import COLUMNS, Order

SHORTCUTS = "Shortcuts: " + " ".join(
    [
        *(f"{column.title}[{column.key}]" for column in COLUMNS if column.key),
        "quit[q]",
    ]
)

_ROWS_TRIED = (12, 9, 6, 4, 3)
"""How long the smaller tables may be on a terminal: the most with which they leave half of it to the workers."""

_GAP = 2
_TABLE_GAP = 4
_LEAST_WORKER_WIDTH = 16
_NAME_WIDTH = 24
_PLAIN_WIDTH = 10_000
_WORKER = [column.title for column in COLUMNS].index("worker")
_CUT = "\N{HORIZONTAL ELLIPSIS}"

Rows = list[tuple[str, str]]


def plain(report: MonitorReport, order: Order, title: str) -> str:
    """Return everything as text without colours, however long its lines are."""
    console = Console(file=io.StringIO(), width=_PLAIN_WIDTH, color_system=None, force_terminal=False)
    parts = (Text(title), _summary(_tables(report), _PLAIN_WIDTH), _total(report), _workers(report, order))
    with console.capture() as capture:
        console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n\n"


def screen(report: MonitorReport, order: Order, console: Console) -> RenderableType:
    """Return what fits on the console."""
    top: list[RenderableType] = []
    used = 0
    for rows in _ROWS_TRIED:
        summary = _summary(_cut(_tables(report), rows), console.width)
        top = [summary, Text(), Text(SHORTCUTS, style="dim"), Text(), _total(report)]
        used = len(console.render_lines(Group(*top)))
        if used <= console.height // 2:
            break
    room = console.height - used - 1  # the line with titles
    if len(report.workers) <= room:
        return Group(*top, _workers(report, order, console.width))
    shown = max(0, room - 1)
    more = Text(f"... and {figures.count(len(report.workers) - shown)} more", style="dim")
    return Group(*top, _workers(report, order, console.width, shown), more)


def waiting(address: str) -> RenderableType:
    """Return what is shown before the first report."""
    return Text(f"waiting for {address}", style="dim")


def _tables(report: MonitorReport) -> dict[str, Rows]:
    return {
        "scheduler": [
            ("cpu", figures.percent(report.cpu)),
            ("rss", figures.size(report.rss)),
            ("rss_free", figures.size(report.free_memory)),
            ("waiting", figures.count(report.ready)),
            ("dropped", figures.count(report.dropped)),
        ],
        "object_manager": [
            ("objects", figures.count(report.objects)),
            ("object_mem", figures.size(report.object_bytes)),
            ("functions", figures.count(report.functions)),
            ("function_mem", figures.size(report.function_bytes)),
        ],
        "task_manager": _counted(report.tasks),
        "scheduler_sent": _counted(report.sent),
        "scheduler_received": _counted(report.received),
        "client_manager": _counted(sorted(report.clients, key=lambda client: (-client.count, client.name))),
    }


def _counted(counts: Iterable[Count]) -> Rows:
    return [(figures.name(item.name), figures.count(item.count)) for item in counts]


def _cut(tables: dict[str, Rows], limit: int) -> dict[str, Rows]:
    """Return the tables with `limit` rows at the most, and short names."""
    return {
        title: [
            (_shortened(name, _NAME_WIDTH), value)
            for name, value in (rows if len(rows) <= limit else rows[: limit - 1])
        ]
        + [(f"... {len(rows) - limit + 1} more", "")] * (len(rows) > limit)
        for title, rows in tables.items()
    }


def _summary(tables: dict[str, Rows], width: int) -> RenderableType:
    """Put the tables beside each other, and below each other where the width ends."""
    lines: list[list[Table]] = [[]]
    used = 0
    for title, rows in tables.items():
        names = [title, *(f"  {name}" for name, _ in rows)]
        values = ["", *(value for _, value in rows)]
        taken = max(map(cell_len, names)) + _GAP + max(map(cell_len, values))
        if lines[-1] and used + taken > width:
            lines.append([])
            used = 0
        used += taken + _TABLE_GAP
        table = _grid("<>")
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            table.add_row(Text(name, style="bold" if index == 0 else ""), Text(value))
        lines[-1].append(table)
    grids: list[Table] = []
    for line in lines:
        grid = _grid("<" * len(line), _TABLE_GAP)
        grid.add_row(*line)
        grids.append(grid)
    return Group(*grids)


def _total(report: MonitorReport) -> Text:
    return Text(f"Total {figures.count(len(report.workers))} worker(s)")


def _workers(report: MonitorReport, order: Order, width: int | None = None, limit: int | None = None) -> Table:
    workers: Iterable[WorkerFigures] = islice(order.sort(report.workers), limit)
    titles = [f"[{column.title}]" if column is order.column else column.title for column in COLUMNS]
    rows = [titles, *([column.text(worker) for column in COLUMNS] for worker in workers)]
    gap = _GAP if width is None else _fit(rows, width)
    table = _grid("".join("<" if column.is_name else ">" for column in COLUMNS), gap)
    for column, cells in zip(table.columns, zip(*rows, strict=True), strict=True):
        column.min_width = max(map(cell_len, cells))  # a number is shown whole, or beyond the edge
    for index, row in enumerate(rows):
        table.add_row(*(Text(cell, style="bold" if index == 0 else "") for cell in row))
    return table


def _fit(rows: Sequence[list[str]], width: int) -> int:
    """Cut worker ids so that the other columns have room: the ids end with what is random. Returns the gap to leave."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    narrow = sum(widths) - max(0, widths[_WORKER] - _LEAST_WORKER_WIDTH) + _GAP * (len(widths) - 1) > width
    gap = 1 if narrow else _GAP
    surplus = sum(widths) + gap * (len(widths) - 1) - width
    if surplus > 0:
        for row in rows:
            row[_WORKER] = _shortened(row[_WORKER], max(_LEAST_WORKER_WIDTH, widths[_WORKER] - surplus))
    return gap


def _shortened(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + _CUT


def _grid(sides: str, gap: int = _GAP) -> Table:
    """Return a table without lines; `sides` says for each column where its cells stand, `<` or `>`."""
    table = Table.grid(padding=(0, gap, 0, 0))
    for side in sides:
        table.add_column(justify="right" if side == ">" else "left", no_wrap=True)
    return table
