"""Writes the root of a worker image as a tar file: this Python, what scaler-worker needs, and the libraries of both.

No registry can be reached from everywhere that tests run, so that the image is made of what this machine has.
"""

import compileall
import importlib.metadata
import io
import py_compile
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable).resolve()
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_NEEDED = {"test", "idlelib", "tkinter", "turtledemo", "lib2to3", "site-packages", "dist-packages"}
FOLDERS = ("dev", "etc", "proc", "root", "run", "sys", "usr/local/bin")
USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"


def write_worker_image(file, staging):
    """Write the tar; `staging` is a folder for what has to be made first."""
    with tarfile.open(file, "w") as tar:
        for folder in FOLDERS:
            _add_folder(tar, folder)
        _add_folder(tar, "tmp", 0o1777)
        _add_text(tar, "etc/passwd", USERS)
        tar.add(PYTHON)
        tar.add(STANDARD_LIBRARY, filter=_is_needed)
        for name in ("python", "python3"):
            _add_link(tar, f"usr/local/bin/{name}", str(PYTHON))
        shell = Path("/bin/sh")
        objects = [PYTHON, shell, *(STANDARD_LIBRARY / "lib-dynload").glob("*.so")]
        site = _stage_site(Path(staging) / "site")
        tar.add(site, str(STANDARD_LIBRARY / "site-packages"))
        objects += [path for path in site.rglob("*.so*") if path.is_file()]
        for library in sorted(_libraries(objects) | {str(shell)}):
            if not library.startswith(str(site)):
                tar.add(Path(library).resolve(), library)


def _stage_site(site):
    """Gather the packages of a worker, compiled: each container would do that again."""
    site.mkdir(parents=True)
    for name in sorted(_needs("scaler-worker")):
        folder = ROOT / "packages" / (name if name == "scaler" else name.removeprefix("scaler-"))
        if (folder / "pyproject.toml").exists():
            _copy_all(folder / "src", site, (folder / "src").rglob("*"))
        else:
            found = importlib.metadata.distribution(name)
            files = [Path(str(found.locate_file(file))) for file in found.files or () if ".." not in file.parts]
            _copy_all(Path(str(found.locate_file(""))), site, files)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(site, quiet=2, invalidation_mode=unchecked, stripdir=str(site), workers=0)
    return site


def _copy_all(source, target, files):
    for file in files:
        if not file.is_file() or "__pycache__" in file.parts or file.suffix in {".cpp", ".pyx"}:
            continue
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
        place.chmod(file.stat().st_mode & 0o777)


def _needs(name, seen=None):
    """Return a distribution and all that it needs; of ours, by what stands in the checkout."""
    seen = set() if seen is None else seen
    name = canonicalize_name(name)
    if name in seen:
        return seen
    seen.add(name)
    project = ROOT / "packages" / (name if name == "scaler" else name.removeprefix("scaler-")) / "pyproject.toml"
    if project.exists():
        lines = tomllib.loads(project.read_text())["project"]["dependencies"]
    else:
        lines = importlib.metadata.requires(name) or ()
    for need in map(Requirement, lines):
        if not need.marker or need.marker.evaluate({"extra": ""}):
            _needs(need.name, seen)
    return seen


def _libraries(objects):
    """Return the shared libraries that programs and modules are linked with."""
    done = subprocess.run(["ldd", *map(str, objects)], capture_output=True, text=True, check=False)
    return set(re.findall(r"(?:=>\s*|^\s+)(/\S+)", done.stdout, re.MULTILINE))


def _is_needed(info):
    parts = Path(f"/{info.name}").relative_to(STANDARD_LIBRARY).parts
    is_extra = bool(parts) and (parts[0] in NOT_NEEDED or parts[0].startswith("config-"))
    return None if is_extra else info


def _add_folder(tar, name, mode=0o755):
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _add_text(tar, name, text):
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(text.encode()))


def _add_link(tar, name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)
