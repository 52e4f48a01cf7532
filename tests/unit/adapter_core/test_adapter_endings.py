"""How an adapter with a constant number of workers ends and goes on, and how every adapter stops."""

import itertools

from scaler_adapter_core import events as e
from scaler_adapter_core.adapter import FAREWELL_SECONDS
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import ConstantDesire, Limits
from scaler_adapter_core.provider import LaunchSpec, TerminateMode
from tests.unit.adapter_core.stage import Stage

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
