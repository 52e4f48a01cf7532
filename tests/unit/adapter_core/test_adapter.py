"""The adapter's conversation with scheduler and engine, under a virtual clock."""

from scaler_adapter_core import events as e
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import Limits
from tests.unit.adapter_core.stage import Stage


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
