"""Installs what an engine consists of from the distribution's packages, once a machine; says why where it can't.

A test that needs an engine calls `require`, and is skipped with one line where the engine cannot be had.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

INSTALL_SECONDS = 300
_NEVER_ASK = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
_APT = ("apt-get", "-q", "-y", "-o", "Acquire::Retries=2", "-o", "DPkg::Lock::Timeout=240")


def require(engine, commands, packages, *, as_root=False):
    """Return if all commands are there, after an installation if need be; skip the test otherwise."""
    if as_root and os.geteuid() != 0:
        pytest.skip(f"{engine} cannot be tested here: only root can start it")
    reason = missing(tuple(commands), tuple(packages))
    if reason:
        pytest.skip(f"{engine} cannot be tested here: {reason}")


@cache
def missing(commands, packages):
    """Install packages where one of the commands is missing; return why they cannot be had, empty if they are there."""
    if not _absent(commands):
        return ""
    if os.geteuid() != 0:
        return f"{_absent(commands)} is missing, and only root can install it"
    if shutil.which("apt-get") is None:
        return f"{_absent(commands)} is missing, and there is no apt-get to install it"
    with (Path(tempfile.gettempdir()) / f"scaler-tests-apt-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run beside each other
        if not _absent(commands):
            return ""
        failure = _install(packages)
    return failure or (f"{_absent(commands)} did not come with {' '.join(packages)}" if _absent(commands) else "")


def _install(packages):
    install = (*_APT, "install", "--no-install-recommends", *packages)
    failure = _run(*install)
    if failure:  # the lists may be old, or not there at all
        failure = _run(*_APT, "update") or _run(*install)
    return failure


def _run(*command):
    """Run apt-get; return its last complaint, empty if it went well."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **_NEVER_ASK},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {INSTALL_SECONDS} seconds"
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "W:"))]
    return lines[-1] if lines else f"{command[0]} ended with exit code {done.returncode}"


def _absent(commands):
    """Return the first command that is not there; servers lie where not everybody's path leads."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return next((command for command in commands if shutil.which(command, path=path) is None), "")
