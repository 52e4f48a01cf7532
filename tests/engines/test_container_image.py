"""The Dockerfile of the adapter makes an image whose workers run tasks; its base is made of this machine's Python."""

import ensurepip
import os
import shutil
from pathlib import Path

import hatchling.build
import pytest

from scaler import Client
from tests.engines.podman import IMAGE
from tests.engines.worker_image import ROOT, STANDARD_LIBRARY
from tests.integration.commands import running, scheduler

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BASE, BUILT = "localhost/python:base", "localhost/scaler-worker:built"
POLICY = "allocate=even_load; scaling=vanilla(upper=1,cooldown=1)"
WITHOUT_SCALER = f"""\
FROM {IMAGE}
COPY pip.whl /pip/pip.whl
ENV PYTHONPATH=/pip/pip.whl
ENV PIP_NO_INDEX=1
RUN python3 -c "import pathlib as p, shutil as s; list(map(s.rmtree, p.Path('{STANDARD_LIBRARY}').glob('*/scaler*')))"
"""


def bundled_pip():
    """Return pip as it comes with Python, which is all that can be had without a package index."""
    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not found:
        pytest.skip("this Python has no pip of its own (ensurepip/_bundled)")
    return found[-1]


def wheels(folder):
    """Make the wheels that the Dockerfile copies."""
    before = Path.cwd()
    for name in ("protocol", "runtime", "object-storage", "client", "scaler", "worker"):
        os.chdir(ROOT / "packages" / name)
        try:
            hatchling.build.build_wheel(str(folder))
        finally:
            os.chdir(before)


@pytest.fixture
def image(engine, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "dist").mkdir()
    shutil.copy(bundled_pip(), tmp_path / "base" / "pip.whl")
    (tmp_path / "base" / "Dockerfile").write_text(WITHOUT_SCALER)
    wheels(tmp_path / "dist")
    dockerfile = ROOT / "packages" / "adapter-container" / "Dockerfile"
    engine.podman.run("build", "--tag", BASE, str(tmp_path / "base"))
    engine.podman.run(
        "build", "--file", str(dockerfile), "--build-arg", f"BASE_IMAGE={BASE}", "--tag", BUILT, str(tmp_path)
    )
    return BUILT


def test_the_image_runs_workers(image, engine):
    with (
        scheduler(policy=POLICY) as (_, address),
        running("scaler_adapter_container", address, *engine.options(), "--image", image),
        Client(address) as client,
    ):
        assert client.submit(pow, 2, 10).result() == 1024
        assert [container["Image"] for container in engine.containers()] == [image]
    assert "scaler_worker.group" in engine.podman.run("run", "--rm", image)
