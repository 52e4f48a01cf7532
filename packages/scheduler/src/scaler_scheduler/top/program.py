"""`scaler_top` as a program: live in a terminal, one table a report anywhere else."""

import os
import select
import sys
import time

from scaler_runtime.dump import dump_on_signal, write_dump
from scaler_scheduler.top import view
from scaler_scheduler.top.columns import Order
from scaler_scheduler.top.config import TopConfig
from scaler_scheduler.top.feed import Feed
from scaler_scheduler.top.terminal import SUSPEND, Terminal, is_terminal

_QUIT = "q"


def run(config: TopConfig) -> int:
    """Show reports until told to stop; `ProgramError` when none comes any more."""
    dump_on_signal(_dump)
    with Feed(config.monitor_address, config.timeout) as feed:
        if not is_terminal():
            return _write(feed)
        with Terminal() as terminal:
            terminal.show(view.waiting(str(config.monitor_address)))
            return _watch(feed, terminal)


def _dump() -> None:
    write_dump()  # without a word, which would be in the middle of the tables


def _write(feed: Feed) -> int:
    """Write every report until nobody reads any more."""
    poll = select.poll()
    poll.register(feed.fileno(), select.POLLIN)
    try:
        while True:
            while (report := feed.next()) is not None:
                title = time.strftime("%Y-%m-%d %H:%M:%S%z")
                sys.stdout.write(view.plain(report, Order(), title))
                sys.stdout.flush()
            poll.poll(feed.patience_seconds() * 1000)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
        return 0


def _watch(feed: Feed, terminal: Terminal) -> int:
    """Show the newest report, sorted by the key pressed last."""
    order, newest = Order(), None
    poll = select.poll()
    poll.register(feed.fileno(), select.POLLIN)
    keyboard = terminal.keyboard
    if keyboard is not None:
        poll.register(keyboard, select.POLLIN)
    while True:
        report = feed.next()
        newest = report or newest
        pressed = {descriptor for descriptor, _ in poll.poll(0 if report else feed.patience_seconds() * 1000)}
        if keyboard in pressed:
            keys = terminal.keys()
            if terminal.keyboard is None:
                poll.unregister(keyboard)
            if _QUIT in keys:
                return 0
            if SUSPEND in keys:
                terminal.suspend()
                feed.wait_anew()
            for key in keys:
                order = order.pressed(key)
        if newest is not None and (report is not None or keyboard in pressed):
            terminal.show(view.screen(newest, order, terminal.console))
