"""The adapter's conversation with scheduler and engine, under a virtual clock."""

import itertools
from collections import deque

import pytest

from scaler_adapter_core import events as e
from scaler_adapter_core.adapter import FAREWELL_SECONDS
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import ConstantDesire, Limits
from scaler_adapter_core.provider import LaunchOutcome, LaunchResult, LaunchSpec, TerminateMode
from tests.unit.adapter_core.stage import Stage


def outcomes(*results):
    return deque(LaunchOutcome(result, "because") for result in results)


def launched(stage):
    return [[spec.group_id for spec in call.specs] for call in stage.calls if isinstance(call, e.CallLaunch)]


# ---- commands


def test_an_engine_that_does_not_see_readiness_learns_it_from_the_scheduler():
    stage = Stage(FakeEngine(sees_readiness=False), Limits(registration_seconds=30)).connect()
    stage.command(["a", "b"])
    stage.wait(20)
    assert stage.states == {"a": "running", "b": "running"}

    stage.command(["a", "b"], registered=["a", "unknown"])
    assert stage.states == {"a": "ready", "b": "running"}
    stage.change()
    stage.command(["a", "b"])
    assert stage.states["a"] == "ready"
    stage.wait(11)
    assert stage.states == {"a": "ready", "b": "failed"}
    assert "registered within 30 seconds" in stage.reasons["b"]

    stage.engine.end("a", "killed")
    stage.change()
    assert stage.states["a"] == "lost"


def test_a_pending_unit_whose_workers_have_registered_is_ready():
    stage = Stage(FakeEngine(pending_seconds=100.0)).connect()
    stage.command(["a"])
    assert stage.states == {"a": "pending"}

    stage.command(["a"], registered=["a"])
    stage.change()

    assert stage.states == {"a": "ready"}


def test_all_wanted_groups_are_launched_in_one_call_and_reported_with_their_workers():
    stage = Stage().connect()
    stage.command(["a", "b", "c"])

    assert launched(stage) == [["a", "b", "c"]]
    assert stage.states == {"a": "ready", "b": "ready", "c": "ready"}
    assert stage.statuses == {"a": "Success", "b": "Success", "c": "Success"}
    assert stage.report.revision == 1
    assert [group.worker_ids for group in stage.report.groups] == [[f"Worker|fake|{key}"] for key in "abc"]


def test_the_same_command_twice_changes_nothing_and_is_answered():
    stage = Stage().connect()
    stage.command(["a"])
    reports, calls = len(stage.reports), len(stage.calls)
    stage.command(["a"], revision=1)

    assert len(stage.calls) == calls
    assert len(stage.reports) == reports + 1
    assert stage.reports[-1] == stage.reports[-2]


def test_the_same_stop_twice_changes_nothing_and_gets_the_same_answer():
    stage = Stage(FakeEngine(stop_seconds=5)).connect()
    stage.command(["a"])
    stage.command([], ["a"])
    stage.command([], ["a"], revision=2)

    assert stage.reports[-1] == stage.reports[-2]
    assert stage.statuses == {"a": "Success"}


def test_a_command_that_is_older_than_the_last_one_changes_nothing():
    stage = Stage().connect()
    stage.command(["a"])
    stage.command(["a", "b"], ["c"])
    stage.command(["z"], ["a"], revision=1)

    assert sorted(stage.live_ids) == ["a", "b"]
    assert stage.report.revision == 2


def test_absence_from_a_command_stops_nothing():
    stage = Stage().connect()
    stage.command(["a", "b"])
    stage.command(["b"])
    stage.command([])

    assert sorted(stage.live_ids) == ["a", "b"]


def test_groups_to_stop_are_asked_to_end_and_others_go_on():
    stage = Stage(FakeEngine(stop_seconds=0.5)).connect()
    stage.command(["a", "b"])
    stage.command(["b"], ["a"])
    assert stage.states == {"a": "stopping", "b": "ready"}
    assert stage.statuses == {"a": "Success", "b": "Success"}

    stage.command(["b"], ["a"])
    assert stage.statuses["a"] == "WorkerGroupShutdown"

    stage.wait(1)
    assert stage.states == {"a": "gone", "b": "ready"}

    stage.command(["b"], ["a"])
    assert stage.statuses["a"] == "WorkerGroupIDNotFound"


def test_what_cannot_be_stopped_is_answered_by_a_status():
    stage = Stage().connect()
    stage.command([], ["never", ""])

    assert stage.statuses == {"never": "WorkerGroupIDNotFound", "": "WorkerGroupIDNotSpecified"}


def test_a_group_without_an_id_is_not_started():
    stage = Stage().connect()
    stage.command([""])

    assert stage.statuses == {"": "WorkerGroupIDNotSpecified"}
    assert stage.live_ids == []


def test_a_group_beyond_the_limit_waits_and_is_started_when_there_is_room():
    stage = Stage(FakeEngine(stop_seconds=1), Limits(max_groups=2)).connect()
    stage.command(["a", "b", "c"])
    assert stage.states == {"a": "ready", "b": "ready", "c": "pending"}
    assert stage.statuses["c"] == "WorkerGroupTooMuch"
    assert "limit is 2" in stage.reasons["c"]

    stage.command(["b", "c"], ["a"])
    assert stage.states["c"] == "pending"
    assert "c" not in stage.statuses  # it only waits for a place

    stage.wait(2)
    assert stage.states["c"] == "ready"
    assert stage.engine.most_live == 2


def test_capabilities_that_are_not_offered_are_answered_and_never_started():
    stage = Stage(capabilities={"gpu": 2, "linux": -1}).connect()
    stage.command(["a"], capabilities={"gpu": 3})
    stage.command(["a", "b"], capabilities={"fpga": -1})

    assert stage.statuses == {"a": "UnknownAction", "b": "UnknownAction"}
    assert stage.states == {"a": "failed", "b": "failed"}
    assert "gpu=2,linux" in stage.reasons["a"]
    assert stage.live_ids == []


def test_groups_offer_what_the_adapter_announces():
    stage = Stage(capabilities={"gpu": 2, "linux": -1}).connect()
    stage.command(["a"], capabilities={"gpu": 1})

    assert stage.report.capabilities == {"gpu": 2, "linux": -1}
    assert stage.report.groups[0].capabilities == {"gpu": 2, "linux": -1}


def test_a_group_that_waits_for_its_start_can_be_cancelled():
    stage = Stage(limits=Limits(max_groups=1)).connect()
    stage.command(["a", "b"])
    stage.command(["a"], ["b"])

    assert stage.states == {"a": "ready", "b": "gone"}
    assert stage.statuses["b"] == "Success"


def test_a_group_stopped_while_its_launch_is_under_way_is_ended_after_it():
    stage = Stage().connect()
    stage.hold()
    stage.command(["a"])
    stage.command([], ["a"])
    assert stage.states == {"a": "requested"}
    stage.release()

    assert stage.live_ids == []
    assert stage.states == {"a": "gone"}


def test_ids_of_groups_are_used_once():
    stage = Stage().connect()
    stage.command(["a"])
    stage.command([], ["a"])
    stage.command([])
    assert stage.states == {}
    stage.command(["a"])

    assert stage.states == {"a": "gone"}
    assert stage.live_ids == []
    assert launched(stage) == [["a"]]


# ---- reports


def test_a_report_is_sent_at_every_heartbeat():
    stage = Stage().connect()
    before = len(stage.reports)
    stage.wait(10)

    assert len(stage.reports) == before + 5


def test_nothing_is_reported_while_the_scheduler_is_away():
    stage = Stage().connect()
    stage.feed(e.Disconnected())
    before = len(stage.reports)
    stage.wait(10)
    assert len(stage.reports) == before

    stage.connect(fresh=False)
    assert len(stage.reports) == before + 1


def test_an_end_is_reported_until_a_command_shows_that_it_was_heard():
    stage = Stage().connect()
    stage.command(["a", "b"])
    stage.engine.end("a", "killed by SIGKILL")
    stage.change()
    stage.command(["a", "b"])  # sent before the scheduler had heard
    assert stage.states["a"] == "lost"
    assert stage.reasons["a"] == "killed by SIGKILL: diagnosis of a"

    stage.command(["b"])
    assert "a" not in stage.states


def test_an_end_is_forgotten_after_a_while_where_no_commands_come():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.end("a", "crash")
    stage.change()
    stage.wait(59)
    assert "a" in stage.states
    stage.wait(5)
    assert stage.states == {}


def test_a_new_scheduler_hears_of_all_groups_and_of_ends_again():
    stage = Stage().connect()
    stage.command(["a", "b"])
    stage.engine.end("a", "crash")
    stage.change()
    stage.connect(fresh=True)

    assert stage.report.revision == 0
    assert stage.states == {"a": "lost", "b": "ready"}


def test_what_only_the_former_scheduler_wanted_is_not_started():
    stage = Stage(limits=Limits(max_groups=1)).connect()
    stage.command(["a", "b"])
    stage.connect(fresh=True)
    stage.engine.end("a", "crash")
    stage.change()
    stage.wait(100)

    assert stage.live_ids == []


# ---- adoption and loss


def test_units_with_the_adapters_tag_are_adopted_and_count():
    engine = FakeEngine()
    former = Stage(engine).connect()
    former.command(["a", "b"])
    stage = Stage(engine, Limits(max_groups=3)).connect()
    assert stage.states == {"a": "ready", "b": "ready"}

    stage.command(["c", "d"], ["a"])
    stage.wait(1)
    assert sorted(stage.live_ids) == ["b", "c", "d"]
    assert engine.most_live == 3


def test_nothing_is_launched_before_the_engine_was_seen():
    engine = FakeEngine()
    engine.faults.down = "no route"
    stage = Stage(engine).connect()
    stage.command(["a"])
    stage.wait(3)
    assert launched(stage) == []
    assert any("no route" in line for line in stage.logs)

    engine.faults.down = ""
    stage.wait(60)
    assert stage.states == {"a": "ready"}


def test_a_unit_that_vanishes_is_lost():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.lose("a")
    stage.change()

    assert stage.states == {"a": "lost"}


def test_an_engine_that_is_late_may_miss_a_unit_for_a_while():
    stage = Stage(limits=Limits(absence_seconds=10, poll_seconds=1)).connect()
    stage.command(["a"])
    unit = stage.engine.units["a"]
    stage.engine.lose("a")
    stage.wait(5)
    assert stage.states == {"a": "ready"}
    stage.engine.units["a"] = unit
    stage.wait(20)
    assert stage.states == {"a": "ready"}
    stage.engine.lose("a")
    stage.wait(12)
    assert stage.states == {"a": "lost"}


def test_a_unit_believed_lost_that_lives_is_shown_again():
    stage = Stage().connect()
    stage.command(["a"])
    unit = stage.engine.units["a"]
    stage.engine.lose("a")
    stage.change()
    stage.engine.units["a"] = unit
    stage.change()
    stage.wait(100)

    assert stage.states == {"a": "ready"}


def test_one_unit_too_many_is_shown_and_takes_a_place():
    engine = FakeEngine()
    engine.faults.extras = 1
    stage = Stage(engine, Limits(max_groups=3)).connect()
    stage.command(["a"])
    assert stage.states == {"a": "ready", "a-extra": "ready"}

    stage.command(["a", "b", "c"])
    assert stage.states["c"] == "pending"


# ---- failures to start


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


# ---- a constant number


def test_a_constant_number_is_started_without_a_scheduler_and_announced_as_zero():
    stage = Stage(constant=ConstantDesire(3, names=("x", "y", "z")), limits=Limits(max_groups=3))
    stage.feed(e.Tick())
    assert len(stage.live_ids) == 3
    assert stage.said == ["ready"]
    stage.connect()

    assert stage.report.max_worker_groups == 0
    assert [group.worker_ids for group in stage.report.groups] == [
        ["Worker|x|own1"],
        ["Worker|y|own2"],
        ["Worker|z|own3"],
    ]


def test_a_constant_number_is_not_scaled():
    stage = Stage(constant=ConstantDesire(1)).connect()
    stage.command(["a"], ["own1"])

    assert stage.statuses == {"a": "WorkerGroupTooMuch", "own1": "UnknownAction"}
    assert stage.live_ids == ["own1"]


def test_without_restart_it_ends_with_the_last_worker():
    stage = Stage(constant=ConstantDesire(2)).connect()
    stage.engine.end("own1", "killed by SIGKILL")
    stage.change()
    stage.wait(100)
    assert stage.finished is None
    assert stage.live_ids == ["own2"]
    stage.engine.end("own2", "killed by SIGTERM")
    stage.change()

    assert stage.finished == "its last worker has ended: killed by SIGTERM"


def test_it_ends_at_once_with_no_workers():
    stage = Stage(constant=ConstantDesire(0))
    stage.feed(e.Tick())

    assert stage.said == ["ready"]
    assert stage.finished == ""


def test_with_restart_a_worker_is_replaced_under_its_name_with_growing_pauses():
    stage = Stage(constant=ConstantDesire(1, restart=True, names=("x",))).connect()
    starts = [stage.now]
    for _ in range(4):
        stage.engine.end(stage.live_ids[0], "killed")
        stage.change()
        while not stage.live_ids:
            stage.wait(0.25)
        starts.append(stage.now)

    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == [0.5, 1.0, 2.0, 4.0]
    assert stage.report.groups[-1].worker_ids[0].startswith("Worker|x|")
    assert stage.finished is None


def test_a_constant_worker_that_cannot_start_is_announced():
    engine = FakeEngine()
    engine.faults.start_failure = "preload failed"
    stage = Stage(engine, constant=ConstantDesire(1)).connect()

    assert stage.said == ["preload failed"]
    assert stage.states == {"own1": "failed"}
    assert stage.finished == "its last worker has ended: preload failed"


def test_a_scheduler_that_is_found_a_little_later_is_still_told_why_a_constant_worker_cannot_start():
    engine = FakeEngine()
    engine.faults.start_failure = "preload failed"
    stage = Stage(engine, constant=ConstantDesire(1))
    stage.feed(e.Tick())
    stage.wait(1.0)
    assert stage.finished is None

    stage.connect()

    assert stage.finished == "its last worker has ended: preload failed"
    assert [str(group.state) for group in stage.report.groups] == ["failed"]


def test_a_constant_worker_that_cannot_start_does_not_wait_for_a_scheduler_for_ever():
    engine = FakeEngine()
    engine.faults.start_failure = "preload failed"
    stage = Stage(engine, constant=ConstantDesire(1))
    stage.feed(e.Tick())

    stage.wait(FAREWELL_SECONDS)

    assert stage.finished == "its last worker has ended: preload failed"


# ---- the end


def test_stopping_drains_all_groups_and_ends_when_nothing_is_left():
    stage = Stage(FakeEngine(stop_seconds=2)).connect()
    stage.command(["a", "b"])
    stage.feed(e.StopAsked("SIGTERM"))
    assert stage.states == {"a": "draining", "b": "draining"}
    stage.command(["c"])
    assert stage.statuses == {"c": "WorkerGroupTooMuch"}
    stage.wait(1.9)
    assert stage.finished is None
    stage.wait(0.2)

    assert stage.finished == ""
    assert stage.live_ids == []
    assert stage.states == {"a": "gone", "b": "gone"}


def test_stopping_without_a_scheduler_does_not_wait_for_tasks():
    stage = Stage().connect()
    stage.command(["a"])
    stage.feed(e.Disconnected())
    stage.feed(e.StopAsked("SIGTERM"))

    assert [call.mode for call in stage.calls if isinstance(call, e.CallTerminate)] == [TerminateMode.STOP]
    assert stage.finished == ""


def test_stopping_kills_what_does_not_end():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.faults.deaf = True
    stage.feed(e.StopAsked("SIGTERM"))
    stage.wait(8.1)

    assert stage.live_ids == []
    assert stage.finished == ""


def test_stopping_ends_in_time_when_the_engine_does_not_answer():
    stage = Stage().connect()
    stage.command(["a"])
    stage.engine.faults.down = "no route"
    stage.feed(e.StopAsked("SIGTERM"))
    stage.wait(9)

    assert stage.finished == ""
    assert any("may still run" in line for line in stage.logs)


def test_stopping_ends_what_a_launch_under_way_brings():
    stage = Stage().connect()
    stage.hold()
    stage.command(["a"])
    stage.feed(e.StopAsked("SIGTERM"))
    stage.release()
    stage.wait(1)

    assert stage.live_ids == []
    assert stage.finished == ""


def test_stopping_looks_for_what_it_does_not_know_and_ends_it():
    stage = Stage(limits=Limits(poll_seconds=60)).connect()
    stage.engine.launch([LaunchSpec("stray", {})], stage.now)
    stage.feed(e.StopAsked("SIGTERM"))

    assert stage.live_ids == []
    assert stage.finished == ""


def test_a_failure_is_told_after_everything_has_ended():
    stage = Stage(FakeEngine(stop_seconds=1)).connect()
    stage.command(["a"])
    stage.feed(e.StopAsked("heard nothing", drain=False, is_failure=True))
    assert stage.finished is None
    stage.wait(2)

    assert stage.finished == "heard nothing"
    assert stage.live_ids == []
