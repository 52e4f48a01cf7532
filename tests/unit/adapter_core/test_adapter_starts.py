"""What the adapter makes of starts that fail, that nobody knows the outcome of, and of workers that never register."""

from collections import deque

import pytest

from scaler_adapter_core import events as e
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import Limits
from scaler_adapter_core.provider import LaunchOutcome, LaunchResult, TerminateMode
from tests.unit.adapter_core.stage import Stage


def outcomes(*results):
    return deque(LaunchOutcome(result, "because") for result in results)


def launched(stage):
    return [[spec.group_id for spec in call.specs] for call in stage.calls if isinstance(call, e.CallLaunch)]


def test_an_unknown_outcome_is_observed_before_anything_is_tried_again():
    engine = FakeEngine()
    engine.faults.outcomes = outcomes(LaunchResult.UNKNOWN)
    stage = Stage(engine).connect()
    stage.command(["a"])

    kinds = [type(call) for call in stage.calls]
    assert kinds[-2:] == [e.CallLaunch, e.CallObserve]
    assert stage.states == {"a": "ready"}


def test_an_unknown_launch_that_did_not_happen_is_tried_again():
    engine = FakeEngine()
    engine.faults.unknown_starts = False
    engine.faults.outcomes = outcomes(LaunchResult.UNKNOWN)
    stage = Stage(engine).connect()
    stage.command(["a"])
    assert stage.states == {"a": "pending"}
    stage.wait(1)

    assert stage.states == {"a": "ready"}
    assert launched(stage) == [["a"], ["a"]]


def test_an_unknown_launch_that_shall_go_meanwhile_is_not_tried_again():
    engine = FakeEngine()
    engine.faults.unknown_starts = False
    engine.faults.outcomes = outcomes(LaunchResult.UNKNOWN)
    stage = Stage(engine).connect()
    stage.hold()
    stage.command(["a"])
    stage.command([], ["a"])
    stage.release()
    stage.wait(10)

    assert launched(stage) == [["a"]]
    assert stage.states == {"a": "gone"}
    assert stage.adapter.desire.stop == set()


@pytest.mark.parametrize("result", [LaunchResult.NO_CAPACITY, LaunchResult.QUOTA, LaunchResult.UNAVAILABLE])
def test_refused_launches_are_tried_again_one_at_a_time_with_growing_pauses(result):
    engine = FakeEngine()
    engine.faults.outcomes = outcomes(*[result] * 8)
    stage = Stage(engine).connect()
    stage.command(["a", "b", "c"])
    assert stage.states == dict.fromkeys("abc", "pending")
    assert "because" in stage.reasons["a"]
    stage.wait(20)

    sizes = [len(group_ids) for group_ids in launched(stage)]
    assert sizes == [3, 1, 1, 1, 1, 1]  # at 0, 0.5, 1.5, 3.5, 7.5, 15.5
    stage.wait(20)
    assert stage.states == dict.fromkeys("abc", "ready")


def test_the_engine_may_say_when_to_try_again():
    engine = FakeEngine()
    engine.faults.outcomes = deque([LaunchOutcome(LaunchResult.NO_CAPACITY, "full", 30.0)])
    stage = Stage(engine).connect()
    stage.command(["a"])
    stage.wait(29)
    assert stage.states == {"a": "pending"}
    stage.wait(2)
    assert stage.states == {"a": "ready"}


def test_a_group_that_can_never_be_has_failed_and_others_go_on():
    engine = FakeEngine()
    engine.faults.outcomes = outcomes(LaunchResult.INVALID)
    stage = Stage(engine).connect()
    stage.command(["a", "b"])
    stage.wait(1)

    assert stage.states == {"a": "failed", "b": "ready"}
    assert stage.reasons["a"] == "because"


def test_failing_starts_are_reported_with_the_cause_and_the_breaker_opens():
    stage = Stage().connect()
    stage.engine.faults.start_failure = "preload failed: No module named 'nope'"
    for number in range(40):
        ended = [key for key, state in stage.states.items() if state == "failed"] if stage.reports else []
        missing = [f"{number}-{index}" for index in range(4)]
        stage.command(missing, [])
        assert all("nope" in stage.reasons[key] for key in ended if key in stage.reasons)
        stage.wait(5)
    # 200 seconds: four at once, then one at a time after 0.5, 1, 2, 4, 60 and 60 seconds
    assert len(launched(stage)) <= 8
    assert sum(map(len, launched(stage))) <= 11
    assert any("5 times in a row" in line and "nope" in line for line in stage.logs)

    stage.engine.faults.start_failure = ""
    stage.wait(61)
    assert "pending" not in stage.states.values()


def test_a_group_that_waits_says_why():
    stage = Stage().connect()
    stage.engine.faults.start_failure = "preload failed"
    stage.command(["a"])
    stage.command(["b"])

    assert stage.states["b"] == "pending"
    assert "preload failed" in stage.reasons["b"]


def test_a_group_that_does_not_register_in_time_is_ended_and_counts_as_failed():
    stage = Stage(limits=Limits(registration_seconds=30)).connect()
    stage.engine.faults.never_ready = True
    stage.command(["a"])
    stage.wait(29)
    assert stage.states == {"a": "running"}
    stage.wait(2)

    assert stage.states == {"a": "failed"}
    assert "registered within 30 seconds" in stage.reasons["a"]
    assert stage.live_ids == []


def test_the_deadline_for_registering_waits_for_the_scheduler():
    stage = Stage(limits=Limits(registration_seconds=30)).connect()
    stage.engine.faults.never_ready = True
    stage.command(["a"])
    stage.feed(e.Disconnected())
    stage.wait(100)
    stage.connect(fresh=False)
    stage.wait(29)
    assert stage.states == {"a": "running"}


def test_a_group_that_does_not_end_when_asked_is_killed():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.faults.deaf = True
    stage.command([], ["a"])
    stage.wait(3.9)
    assert stage.states == {"a": "stopping"}
    stage.wait(0.2)

    assert stage.states == {"a": "gone"}
    assert [call.mode for call in stage.calls if isinstance(call, e.CallTerminate)] == [
        TerminateMode.STOP,
        TerminateMode.KILL,
    ]


def test_a_call_that_fails_as_a_whole_is_an_unknown_launch():
    stage = Stage().connect()
    stage.hold()
    stage.command(["a"])
    stage.held = None
    stage.is_held = False
    stage.feed(e.CallFailed("the engine took too long"))
    assert stage.states == {"a": "pending"}
    stage.wait(1)
    assert stage.states == {"a": "ready"}


def test_a_wrong_number_of_outcomes_is_an_unknown_launch():
    stage = Stage().connect()
    stage.hold()
    stage.command(["a", "b"])
    stage.held, stage.is_held = None, False
    stage.feed(e.Launched([LaunchOutcome(LaunchResult.ACCEPTED)]))
    stage.wait(2)

    assert stage.states == {"a": "ready", "b": "ready"}
