"""What the tests of this folder share."""

import pytest

from scaler_cluster import launcher
from tests.unit.cluster.fake_zygote import FakeZygote


@pytest.fixture
def zygotes(monkeypatch):
    """A class of zygotes for one test, in the place of the real one; `last` is the newest."""
    fakes = type("Zygotes", (FakeZygote,), {"says": dict(FakeZygote.says)})
    monkeypatch.setattr(launcher, "Zygote", fakes)
    return fakes
