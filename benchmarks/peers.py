"""The other systems: each is installed, in the version measured, into an environment of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "dist" / "benchmarks"


@dataclass(frozen=True)
class Peer:
    """A system of `benchmarks.systems`, and what it needs beside the standard library; nothing: it runs in ours."""

    name: str
    requirements: tuple[str, ...] = ()
    needs_isolation: bool = False
    """Whether it must not see the machine's network."""

    def command(self) -> list[str]:
        """Return how its Python is started; installs the peer first where that is needed."""
        python = self._python() if self.requirements else sys.executable
        return [sys.executable, "-m", "benchmarks.isolated", python] if self.needs_isolation else [python]

    def _python(self) -> str:
        folder = ENVIRONMENTS / self.name.replace(" ", "-")
        python = str(folder / "bin" / "python")
        stamp = folder / "requirements.txt"
        wanted = "\n".join(self.requirements)
        if not stamp.exists() or stamp.read_text() != wanted:
            uv = os.environ.get("HATCH_UV", "uv")
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *self.requirements], check=True)
            stamp.write_text(wanted)
        return python


OURS = Peer("Scaler")
STANDARD = (OURS, Peer("PPE"), Peer("PPE chunksize=1024"))
OTHERS = (
    Peer("loky", ("loky==3.7.0", "psutil", "numpy")),
    Peer("Dask", ("distributed==2026.8.0", "psutil", "numpy")),
    Peer("Ray", ("ray==2.60.0", "psutil", "numpy"), needs_isolation=True),
    Peer("Scaler 1.15", ("opengris-scaler==1.15.0", "ConfigArgParse==1.7.1", "psutil", "numpy")),
)
