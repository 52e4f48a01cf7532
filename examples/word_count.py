"""Counts the words of the standard library's source files with as many workers as the work needs.

Starts a scheduler that scales, and an adapter that starts workers here, by the commands that a user types. Shows
the number of workers as it grows and shrinks to none, and compares the counts with those of a plain loop.
"""

import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scaler import Client

MAX_WORKERS = 4
COOLDOWN_SECONDS = 3
POLICY = f"allocate=even_load; scaling=vanilla(upper=10,cooldown={COOLDOWN_SECONDS})"
LISTENING = "scheduler listening on "
SHRINK_SECONDS = 20.0
_WORD = re.compile(r"[A-Za-z]+")


def count_words(path: str) -> Counter[str]:
    """Count the words of one file."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return Counter(_WORD.findall(text.lower()))


def main() -> int:
    """Count in both ways and compare; 0 when they agree."""
    console = Console()
    paths = [
        str(path) for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")) if "-packages" not in str(path)
    ]
    console.print(f"{len(paths)} files of the standard library, at most {MAX_WORKERS} workers, policy {POLICY!r}")
    with command("scaler_scheduler", "tcp://127.0.0.1:0", "-pc", POLICY) as scheduler:
        address = listening_address(scheduler)
        with command("scaler_worker_adapter_native", address, "--max-workers", str(MAX_WORKERS)) as adapter:
            workers = Workers(adapter.pid, console)
            began_at = time.monotonic()
            counts = count_with_workers(address, paths, workers)
            console.print(f"counted in {time.monotonic() - began_at:.1f} s, with up to {workers.most} workers")
            workers.wait_until_gone()
    began_at = time.monotonic()
    expected: Counter[str] = Counter()
    for path in paths:
        expected.update(count_words(path))
    console.print(f"counted again in a plain loop in {time.monotonic() - began_at:.1f} s")
    console.print(", ".join(f"{word} {count}" for word, count in counts.most_common(8)))
    if counts != expected:
        console.print("[red]The counts differ.[/red]")
        return 1
    console.print(f"Both ways found the same {counts.total()} words, {len(counts)} different ones.")
    return 0


def count_with_workers(address: str, paths: list[str], workers: "Workers") -> Counter[str]:
    """Submit a task for each file; add up the counts as they come."""
    counts: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Client(address) as client, Progress(*columns, console=workers.console) as progress:
        bar = progress.add_task("counting", total=len(paths))
        for future in as_completed([client.submit(count_words, path) for path in paths]):
            counts.update(future.result())
            progress.update(bar, advance=1, description=f"counting, {workers.look()} workers")
    return counts


class Workers:
    """The number of workers, as the machine's process table has it."""

    def __init__(self, adapter_pid: int, console: Console) -> None:
        self.console = console
        self.most = 0
        self._adapter = psutil.Process(adapter_pid)
        self._number = 0
        self._looked_at = 0.0
        self._began_at = time.monotonic()

    def look(self, every_seconds: float = 0.1) -> int:
        """Return how many there are, looking at most every so often, and tell of a change."""
        now = time.monotonic()
        if now - self._looked_at >= every_seconds:
            self._looked_at = now
            number = self._count()
            if number != self._number:
                self.console.print(f"{now - self._began_at:5.1f} s  workers: {self._number} -> {number}")
            self._number = number
            self.most = max(self.most, number)
        return self._number

    def wait_until_gone(self) -> None:
        """Wait for the cooldown to pass and the workers to go."""
        self.console.print(f"no tasks any more: the workers go after {COOLDOWN_SECONDS} s")
        deadline = time.monotonic() + SHRINK_SECONDS
        while self.look() > 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there are still {self._number} workers {SHRINK_SECONDS:g} s after the last task")
            time.sleep(0.1)

    def _count(self) -> int:
        """The adapter's child forks the workers: they are its grandchildren."""
        return len(self._adapter.children(recursive=True)) - len(self._adapter.children())


@contextmanager
def command(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of this environment until the block is left; it stops in order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        program = [str(Path(sys.executable).with_name(name)), *arguments, "--logging-paths", str(log)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.terminate()


def listening_address(scheduler: subprocess.Popen[str]) -> str:
    """Read the address from the line that the scheduler writes when it listens."""
    for line in scheduler.stdout or ():
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()
    raise RuntimeError(f"the scheduler ended with exit code {scheduler.wait()}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
