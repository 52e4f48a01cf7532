"""Groups that shall end while their engine is away for a moment."""

import pytest

from scaler_adapter_core import events as e
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import Limits
from scaler_adapter_core.provider import TerminateMode
from tests.unit.adapter_core.stage import Stage

STOP, DRAIN, KILL = TerminateMode.STOP, TerminateMode.DRAIN, TerminateMode.KILL


class TimedStage(Stage):
    """Writes down when the engine was asked to end groups, and how."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def _answer(self, call):
        if isinstance(call, e.CallTerminate):
            self.asked.append((round(self.now - 100.0, 3), call.mode))
        return super()._answer(call)


def away(engine=None, limits=None):
    """Return a stage with a group that shall go; its engine, away for now, does not hear of it."""
    stage = TimedStage(engine or FakeEngine(stop_seconds=2.0), limits or Limits()).connect()
    stage.command(["a"])
    stage.engine.faults.down = "no route"
    stage.command([], ["a"])
    return stage


def test_it_is_asked_again_in_the_same_way_with_growing_pauses():
    stage = away()
    stage.wait(20)
    assert stage.asked == [(0.0, STOP), (0.5, STOP), (1.5, STOP), (3.5, STOP), (7.5, STOP), (15.5, STOP)]
    assert stage.states == {"a": "stopping"}
    assert stage.reasons["a"] == "could not be asked to end: no route"
    assert "could not ask group a to end, next attempt after 16 s: no route" in stage.logs

    stage.engine.faults.down = ""
    stage.wait(12)
    assert stage.asked[6:] == [(31.5, STOP)]
    stage.wait(3)
    assert (stage.states, stage.reasons) == ({"a": "gone"}, {"a": "stopped"})
    assert stage.asked[7:] == []


def test_its_grace_begins_when_the_engine_has_taken_it():
    stage = away()
    stage.engine.faults.deaf = True
    stage.wait(10)
    stage.engine.faults.down = ""
    stage.wait(9.4)

    assert stage.asked[4:] == [(7.5, STOP), (15.5, STOP)]
    stage.wait(0.1)
    assert stage.asked[6:] == [(19.5, KILL)]
    assert stage.live_ids == []


def test_the_time_that_the_engine_takes_to_answer_is_not_the_groups():
    stage = TimedStage(FakeEngine(stop_seconds=2.0)).connect()
    stage.command(["a"])
    stage.engine.faults.deaf = True
    stage.hold()
    stage.command([], ["a"])
    stage.wait(9)
    stage.release()
    stage.wait(3.9)
    assert [mode for _, mode in stage.asked] == [STOP]
    stage.wait(0.2)
    assert [mode for _, mode in stage.asked] == [STOP, KILL]


def test_a_kill_is_repeated_sooner_where_it_was_not_taken():
    stage = TimedStage().connect()
    stage.command(["a"])
    stage.engine.faults.deaf = True
    stage.command([], ["a"])
    stage.wait(3.9)
    stage.engine.faults.down = "no route"
    stage.wait(1)
    stage.engine.faults.down = ""
    stage.wait(1)

    assert stage.asked == [(0.0, STOP), (4.0, KILL), (4.5, KILL), (5.5, KILL)]
    assert stage.states == {"a": "gone"}


def test_one_that_has_failed_says_so_in_the_end():
    stage = TimedStage(FakeEngine(sees_readiness=False), Limits(registration_seconds=30)).connect()
    stage.command(["a"])
    stage.wait(29.5)
    stage.engine.faults.down = "no route"
    stage.wait(2)
    stage.engine.faults.down = ""
    stage.wait(2)

    assert stage.asked == [(30.0, STOP), (30.5, STOP), (31.5, STOP), (33.5, STOP)]
    assert stage.states == {"a": "failed"}
    assert "registered within 30 seconds" in stage.reasons["a"]


def test_another_that_shall_go_is_asked_at_once():
    stage = TimedStage(FakeEngine(stop_seconds=1.0)).connect()
    stage.command(["a", "b"])
    stage.engine.faults.down = "no route"
    stage.command(["b"], ["a"])
    stage.wait(5)
    stage.engine.faults.down = ""
    stage.command([], ["a", "b"])

    last = [call for call in stage.calls if isinstance(call, e.CallTerminate)][-1]
    assert stage.asked[-1] == (5.0, STOP)
    assert last.group_ids == ["b"]


@pytest.mark.parametrize("away_seconds", [0.7, 4.0])
def test_an_adapter_that_stops_asks_again_and_kills_what_is_left_while_it_can(away_seconds):
    stage = TimedStage(FakeEngine(stop_seconds=1.0)).connect()
    stage.command(["a"])
    stage.engine.faults.down, stage.engine.faults.deaf = "no route", True
    stage.feed(e.StopAsked("SIGTERM"))
    stage.wait(away_seconds)
    stage.engine.faults.down = ""
    stage.wait(8.6 - away_seconds)

    assert {mode for _, mode in stage.asked[:-1]} == {DRAIN}
    assert stage.asked[-1] == (8.0, KILL)
    assert stage.live_ids == []
    assert stage.finished == ""
    assert not any("may still run" in line for line in stage.logs)
