"""Units that leave by themselves, as jobs do before their time is up."""

from scaler_adapter_core import events as e
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import Limits
from scaler_adapter_core.provider import TerminateMode, UnitState
from tests.unit.adapter_core.stage import Stage


def leaving():
    """Return a stage whose only group has begun to drain by itself."""
    stage = Stage().connect()
    stage.command(["a"])
    unit = stage.engine.units["a"]
    unit.state, unit.reason, unit.changes_at = UnitState.DRAINING, "its time is nearly up", stage.now + 30
    stage.change()
    return stage


def terminated(stage):
    return [(call.group_ids, call.mode) for call in stage.calls if isinstance(call, e.CallTerminate)]


def test_it_is_reported_with_its_reason():
    stage = leaving()

    assert (stage.states, stage.reasons) == ({"a": "draining"}, {"a": "its time is nearly up"})


def test_the_scheduler_wants_it_to_go_and_it_still_finishes_its_tasks():
    stage = leaving()
    stage.command(["b"], ["a"])
    assert terminated(stage) == []
    assert stage.statuses["a"] == "Success"

    stage.wait(31)
    assert stage.states["a"] == "gone"
    assert terminated(stage) == []


def test_one_that_was_asked_to_end_before_is_held_to_it():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.faults.deaf = True
    stage.command([], ["a"])
    unit = stage.engine.units["a"]
    unit.state, unit.changes_at = UnitState.DRAINING, stage.now + 1000
    stage.change()
    stage.wait(10)

    assert terminated(stage) == [(["a"], TerminateMode.STOP), (["a"], TerminateMode.KILL)]


def test_the_end_of_the_adapter_is_its_end():
    stage = leaving()
    stage.feed(e.StopAsked("asked to stop"))

    assert terminated(stage) == [(["a"], TerminateMode.DRAIN)]


def test_one_whose_workers_never_register_has_failed_at_once_and_the_next_waits_for_its_turn():
    stage = Stage(FakeEngine(sees_readiness=False, stop_seconds=2.0), Limits(registration_seconds=30)).connect()
    stage.command(["a"])
    stage.wait(30.1)
    assert stage.states == {"a": "stopping"}

    stage.command(["a", "b"])
    assert stage.states == {"a": "stopping", "b": "pending"}
    assert stage.reasons["b"].startswith("the start failed, next attempt after 0.5 s: no worker of it registered")
    stage.wait(30.6)
    stage.command(["c"])
    assert stage.states == {"b": "stopping", "c": "pending"}
    assert "the start failed (2 times in a row), next attempt after 1 s" in stage.reasons["c"]
