"""An attempt to fetch an image."""

import threading

import pytest

from scaler_adapter_container.engine import Refused
from scaler_adapter_container.pull import Pull
from tests.unit.adapter_container.fake_engine import FakeEngine


def ended(engine, *, opened=None):
    told = threading.Event()
    pull = Pull("image", opened or (lambda: engine), told.set)
    assert told.wait(60)
    assert pull.has_ended
    return pull


def test_it_brings_the_image_over_a_connection_of_its_own():
    engine = FakeEngine(images=())
    assert ended(engine).failure == ""
    assert (engine.images, engine.is_closed) == ({"image"}, True)


@pytest.mark.parametrize(("error", "said"), [(Refused("denied"), "denied"), (KeyError("x"), "KeyError: 'x'")])
def test_it_says_why_it_failed(error, said):
    engine = FakeEngine()
    engine.fail("pull", error)
    assert ended(engine).failure == said


def test_without_an_engine_it_fails():
    def opened():
        raise Refused("nobody there")

    assert ended(FakeEngine(), opened=opened).failure == "nobody there"
