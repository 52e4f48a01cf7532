"""What all tests share."""

import os
import sys
import tempfile
from pathlib import Path

from hypothesis import settings

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # Half of what a command takes to start is the compiler: it shall run once, elsewhere if not beside the sources.
    folder = Path(tempfile.gettempdir()) / f"scaler-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(folder)
        sys.dont_write_bytecode = False
    else:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

# How long an example takes depends on what else the machine does: no test fails for that.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
