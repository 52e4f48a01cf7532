"""The Dockerfile that is shipped."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_it_installs_this_version():
    text = (ROOT / "packages" / "adapter-container" / "Dockerfile").read_text()
    assert f"ARG SCALER_VERSION={runpy.run_path(str(ROOT / 'VERSION.py'))['__version__']}\n" in text
