"""What the system tells about processes from outside: whether one is stopped, and kills for want of memory."""

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_STOPPED = frozenset("Tt")  # stopped by a signal, by a debugger (proc(5))


def is_stopped(pid: int, proc: Path = _PROC) -> bool:
    """Whether a process is stopped, as by SIGSTOP; not if there is none."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in _STOPPED


class OutOfMemoryKills:
    """Counts kills in this process's control group since it was made, where the system lets us read them."""

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._file = _events_file(proc, cgroups)
        self._before = self._read()

    def count(self) -> int | None:
        """Return how many there were, None if that is not known."""
        now = self._read()
        return None if now is None or self._before is None else now - self._before

    def _read(self) -> int | None:
        if self._file is not None:
            with suppress(OSError, ValueError):
                for line in self._file.read_text(encoding="utf-8").splitlines():
                    name, _, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
        return None


def _events_file(proc: Path, cgroups: Path) -> Path | None:
    """Return the file with the counter: `memory.events` of cgroup v2, `memory.oom_control` of v1.

    Within a container the group may be mounted as the root, while its path is still told as it is outside.
    """
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                root, name = cgroups, "memory.events"
            elif "memory" in controllers.split(","):
                root, name = cgroups / "memory", "memory.oom_control"
            else:
                continue
            for file in (root / path.lstrip("/") / name, root / name):
                if file.exists():
                    return file
    return None
