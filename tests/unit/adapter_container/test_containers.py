"""Containers as groups: what is made, shown, ended and removed."""

import threading

import pytest

from scaler_adapter_container.containers import MAX_ENDED, STARTS_AT_A_LOOK, Containers
from scaler_adapter_container.engine import NoSuchContainer, Refused, Unanswered, Unreached
from scaler_adapter_container.request import request_of
from scaler_adapter_core.provider import LaunchResult, LaunchSpec, ProviderError, TerminateMode, UnitState
from tests.unit.adapter_container.fake_engine import FakeEngine, a_config

A, B = LaunchSpec("a", {"gpu": 1}), LaunchSpec("b", {})


class Case:
    """Containers over a fake engine, with a clock of its own."""

    def __init__(self, *, images=("image",), **options):
        self.config = a_config(**options)
        self.engine = FakeEngine(images)
        self.now = 0.0
        self.pulled = threading.Event()
        self.containers = Containers(self.config, "tag", lambda: self.engine, self.pulled.set, lambda: self.now)

    def launch(self, *specs, is_cut_off=lambda: False):
        return self.containers.launch(specs, is_cut_off)

    def results(self, *specs):
        return [outcome.result for outcome in self.launch(*specs)]

    def units(self):
        return {unit.group_id: unit for unit in self.containers.observe()}

    def states(self):
        return {group_id: unit.state for group_id, unit in self.units().items()}

    def id_of(self, group_id):
        (found,) = [key for key, one in self.engine.containers.items() if one["request"].name == f"scaler-{group_id}"]
        return found


# ---- launch


def test_a_group_is_a_container_that_runs():
    case = Case()
    assert case.results(A, B) == [LaunchResult.ACCEPTED] * 2
    unit = case.units()["a"]
    assert (unit.state, unit.capabilities, len(unit.worker_ids)) == (UnitState.RUNNING, {"gpu": 1}, 1)


def test_a_name_that_is_taken_by_the_same_group_is_no_failure_whatever_the_engine_says():
    case = Case()
    case.launch(A)
    assert case.results(A) == [LaunchResult.ALREADY_EXISTS]
    assert len(case.engine.containers) == 1


def test_a_name_that_is_taken_by_somebody_else_is_refused():
    case = Case()
    other = request_of(case.config, "another tag", A)
    case.engine.create(other)
    assert case.results(A) == [LaunchResult.INVALID]
    case.containers.terminate(["a"], TerminateMode.KILL, 0.0)
    assert case.states() == {}
    assert len(case.engine.containers) == 1


@pytest.mark.parametrize(
    ("call", "error", "result"),
    [
        ("create", Refused("no such network"), LaunchResult.INVALID),
        ("create", Refused("write /x: No space left on device"), LaunchResult.NO_CAPACITY),
        ("create", Unreached("nobody there"), LaunchResult.UNAVAILABLE),
        ("create", Unanswered("time is up"), LaunchResult.UNKNOWN),
        ("start", Refused("no such program"), LaunchResult.INVALID),
        ("start", Refused("fork: resource temporarily unavailable"), LaunchResult.NO_CAPACITY),
        ("start", Unanswered("time is up"), LaunchResult.UNKNOWN),
        ("start", Unreached("nobody there"), LaunchResult.UNKNOWN),
    ],
)
def test_failures_are_told_apart(call, error, result):
    case = Case()
    case.engine.fail(call, error)
    (outcome,) = case.launch(A)
    assert (outcome.result, outcome.reason) == (result, str(error))


def test_what_cannot_be_started_leaves_no_container():
    case = Case()
    case.engine.fail("start", Refused("no such program"))
    case.launch(A)
    assert case.engine.containers == {}


def test_when_the_engine_does_not_answer_the_others_are_not_tried():
    case = Case()
    case.engine.fail("create", Unanswered("time is up"))
    assert case.results(A, B) == [LaunchResult.UNKNOWN, LaunchResult.UNAVAILABLE]
    assert len(case.engine.named("create")) == 1


def test_a_launch_that_is_cut_off_starts_no_further_container():
    case = Case()
    outcomes = case.launch(A, B, is_cut_off=lambda: bool(case.engine.containers))
    assert [outcome.result for outcome in outcomes] == [LaunchResult.ACCEPTED, LaunchResult.UNAVAILABLE]


def test_the_rest_of_a_launch_is_started_when_it_is_tried_again():
    case = Case()
    case.engine.fail("create", Unanswered("time is up"), after=True)
    assert case.results(A) == [LaunchResult.UNKNOWN]
    assert case.results(A) == [LaunchResult.ACCEPTED]
    assert case.states() == {"a": UnitState.RUNNING}


def test_the_rest_of_a_launch_is_removed_by_whoever_looks():
    case = Case()
    case.engine.fail("create", Unanswered("time is up"), after=True)
    case.launch(A)
    assert case.states() == {}
    assert case.engine.containers == {}


def test_a_start_without_an_answer_is_found_by_looking():
    case = Case()
    case.engine.fail("start", Unanswered("time is up"), after=True)
    assert case.results(A) == [LaunchResult.UNKNOWN]
    assert case.states() == {"a": UnitState.RUNNING}


# ---- the image


def test_without_the_image_and_leave_to_fetch_it_a_group_can_never_be():
    case = Case(images=(), pull="never")
    (outcome,) = case.launch(A)
    assert outcome.result is LaunchResult.INVALID
    assert "has no image image, and pull is never" in outcome.reason


def test_groups_wait_for_the_image_and_start_when_it_has_come():
    case = Case(images=())
    assert case.results(A, B) == [LaunchResult.ACCEPTED] * 2
    assert case.pulled.wait(60)
    assert len(case.engine.named("pull")) == 1
    assert case.states() == {"a": UnitState.RUNNING, "b": UnitState.RUNNING}


def test_of_many_that_wait_for_the_image_some_start_at_each_look():
    case = Case(images=(), max_workers=100)
    specs = [LaunchSpec(f"g{number}", {}) for number in range(STARTS_AT_A_LOOK + 2)]
    case.launch(*specs)
    assert case.pulled.wait(60)
    case.pulled.clear()
    states = list(case.states().values())
    assert (states.count(UnitState.RUNNING), states.count(UnitState.PENDING)) == (STARTS_AT_A_LOOK, 2)
    assert case.pulled.is_set()
    case.containers.terminate([specs[-1].group_id], TerminateMode.STOP, 3.0)
    assert list(case.states().values()).count(UnitState.RUNNING) == STARTS_AT_A_LOOK + 1
    assert case.states()[specs[-1].group_id] is UnitState.GONE


def test_while_the_image_is_on_its_way_groups_are_pending_and_may_be_called_off():
    case = Case(images=())
    go = threading.Event()
    fetch = case.engine.pull
    case.engine.pull = lambda image: (go.wait(), fetch(image))
    case.launch(A, B)
    assert case.results(A) == [LaunchResult.ALREADY_EXISTS]
    unit = case.units()["a"]
    assert (unit.state, unit.reason) == (UnitState.PENDING, "the engine fetches the image image")
    case.containers.terminate(["a"], TerminateMode.STOP, 1.0)
    go.set()
    assert case.pulled.wait(60)
    assert case.states() == {"a": UnitState.GONE, "b": UnitState.RUNNING}


def test_an_image_that_cannot_be_fetched_fails_the_groups_and_is_tried_again_with_the_next():
    case = Case(images=())
    case.engine.fail("pull", Refused("unauthorized"))
    case.launch(A)
    assert case.pulled.wait(60)
    unit = case.units()["a"]
    assert (unit.state, unit.reason) == (UnitState.FAILED, "the image image cannot be fetched: unauthorized")
    case.pulled.clear()
    case.launch(B)
    assert case.pulled.wait(60)
    assert case.states()["b"] is UnitState.RUNNING


def test_an_image_that_was_fetched_and_is_not_there_is_not_fetched_for_ever():
    case = Case(images=())
    case.engine.pulled = set()
    case.launch(A)
    assert case.pulled.wait(60)
    assert case.states() == {"a": UnitState.FAILED}


def test_after_the_image_has_come_the_engine_may_still_refuse():
    case = Case(images=())
    case.launch(A)
    assert case.pulled.wait(60)
    case.engine.fail("create", Refused("no such network"))
    assert case.units()["a"].reason == "no such network"


def test_always_fetches_before_each_launch():
    case = Case(pull="always")
    for spec in (A, B):
        case.pulled.clear()
        case.launch(spec)
        assert case.pulled.wait(60)
        assert case.states()[spec.group_id] is UnitState.RUNNING
    assert len(case.engine.named("pull")) == 2


# ---- observe


def test_containers_of_another_adapter_are_not_seen():
    case = Case()
    container_id = case.engine.create(request_of(case.config, "another tag", A))
    case.engine.start(container_id)
    assert case.states() == {}


def test_a_container_with_our_tag_and_nothing_else_of_ours_is_left_alone():
    case = Case()
    case.launch(A)
    del case.engine.containers["c1"]["request"].labels["scaler.group"]
    assert case.states() == {}
    assert len(case.engine.containers) == 1


def test_an_end_is_told_and_the_container_removed_only_then():
    case = Case()
    case.launch(A)
    case.engine.end("c1", exit_code=1, lines=["first", "last"])
    case.engine.fail("end_of", Unanswered("time is up"))
    with pytest.raises(ProviderError):
        case.units()
    assert case.engine.containers
    unit = case.units()["a"]
    assert (unit.state, unit.reason) == (UnitState.FAILED, "the container ended with exit code 1: last")
    assert case.engine.containers == {}
    assert case.states() == {"a": UnitState.FAILED}
    assert case.containers.diagnose("a") == unit.reason
    assert case.results(A) == [LaunchResult.ALREADY_EXISTS]


def test_what_cannot_be_removed_is_said_once_tried_again_and_hides_no_other(caplog):
    case = Case()
    case.launch(A, B)
    case.engine.end("c1", exit_code=1)
    for _ in range(2):
        case.engine.fail("remove", Refused("device is busy"))
        assert case.states() == {"a": UnitState.FAILED, "b": UnitState.RUNNING}
    assert case.states() == {"a": UnitState.FAILED, "b": UnitState.RUNNING}
    assert case.engine.containers.keys() == {"c2"}
    assert len(case.engine.named("end_of")) == 1
    assert caplog.text.count("could not be removed: device is busy") == 1


def test_how_an_end_was_may_not_be_known_to_the_engine():
    case = Case()
    case.launch(A, B)
    case.engine.end("c1", exit_code=1)
    case.engine.fail("end_of", Refused("broken"))
    units = case.units()
    assert (units["a"].state, units["b"].state) == (UnitState.FAILED, UnitState.RUNNING)
    assert units["a"].reason == "the container has ended, the engine does not say how: broken"


def test_a_container_that_somebody_removes_at_that_moment_is_not_there():
    case = Case()
    case.launch(A, B)
    case.engine.end("c1", exit_code=1)
    case.engine.fail("end_of", NoSuchContainer("c1"))
    assert case.states() == {"b": UnitState.RUNNING}


def test_exit_code_0_is_an_end_in_order_asked_or_not():
    case = Case()
    case.launch(A)
    case.engine.end("c1")
    assert case.states() == {"a": UnitState.GONE}


def test_states_of_the_engine_are_shown():
    case = Case()
    case.launch(A)
    case.engine.containers["c1"]["state"] = "paused"
    assert (case.units()["a"].state, case.units()["a"].reason) == (UnitState.RUNNING, "the container is paused")
    case.engine.containers["c1"]["state"] = "removing"
    assert case.units()["a"].state is UnitState.STOPPING


def test_reasons_are_kept_for_a_while():
    case = Case()
    for index in range(MAX_ENDED + 1):
        case.launch(LaunchSpec(f"g{index}", {}))
        case.engine.end(f"c{index + 1}", exit_code=1)
        case.units()
    assert len(case.units()) == MAX_ENDED
    assert "g0" not in case.units()


# ---- terminate and diagnose


@pytest.mark.parametrize(
    ("mode", "state"), [(TerminateMode.DRAIN, UnitState.DRAINING), (TerminateMode.STOP, UnitState.STOPPING)]
)
def test_what_ignores_sigterm_is_killed_after_its_grace(mode, state):
    case = Case()
    case.engine.ignores_sigterm = True
    case.launch(A)
    case.containers.terminate(["a"], mode, 3.0)
    assert case.states() == {"a": state}
    case.now = 2.9
    assert case.states() == {"a": state}
    case.now = 3.0
    case.units()
    assert case.engine.named("signal") == [["c1", "SIGTERM"], ["c1", "SIGKILL"]]
    assert case.states() == {"a": UnitState.GONE}


def test_asking_the_same_again_sends_nothing_and_asking_harder_does():
    case = Case()
    case.engine.ignores_sigterm = True
    case.launch(A)
    for mode in (TerminateMode.DRAIN, TerminateMode.DRAIN, TerminateMode.STOP, TerminateMode.KILL):
        case.containers.terminate(["a"], mode, 3.0)
    assert [name for _, name in case.engine.named("signal")] == ["SIGTERM", "SIGTERM", "SIGKILL"]


def test_what_the_engine_did_not_take_is_asked_again_and_no_other_twice():
    case = Case()
    case.engine.ignores_sigterm = True
    case.launch(A, B)
    case.containers.terminate(["a"], TerminateMode.STOP, 3.0)
    case.now = 2.0
    case.engine.fail("signal", Unreached("connection refused"))
    with pytest.raises(ProviderError):
        case.containers.terminate(["a", "b"], TerminateMode.STOP, 3.0)
    assert case.states() == {"a": UnitState.STOPPING, "b": UnitState.RUNNING}
    case.containers.terminate(["a", "b"], TerminateMode.STOP, 3.0)
    assert case.engine.named("signal") == [["c1", "SIGTERM"], ["c2", "SIGTERM"], ["c2", "SIGTERM"]]
    case.now = 3.0
    case.units()
    assert case.engine.named("signal")[3:] == [["c1", "SIGKILL"]]


def test_a_paused_container_is_killed_since_it_would_not_hear():
    case = Case()
    case.launch(A)
    case.engine.containers["c1"]["state"] = "paused"
    case.containers.terminate(["a"], TerminateMode.STOP, 3.0)
    assert case.engine.named("signal") == [["c1", "SIGKILL"]]


def test_a_signal_that_is_refused_keeps_no_other_from_getting_its_own():
    case = Case()
    case.engine.ignores_sigterm = True
    case.launch(A, B)
    case.engine.fail("signal", Refused("not now"))
    case.containers.terminate(["a", "b"], TerminateMode.STOP, 3.0)
    case.now = 3.0
    case.engine.fail("signal", Refused("not now"))
    assert case.states() == {"a": UnitState.STOPPING, "b": UnitState.STOPPING}
    assert case.engine.named("signal")[1:] == [["c2", "SIGTERM"], ["c1", "SIGKILL"], ["c2", "SIGKILL"]]


def test_what_was_never_started_is_removed():
    case = Case()
    case.engine.fail("create", Unanswered("time is up"), after=True)
    case.launch(A)
    case.containers.terminate(["a"], TerminateMode.STOP, 3.0)
    assert case.engine.containers == {}


def test_asking_nobody_asks_the_engine_nothing():
    case = Case()
    case.containers.terminate([], TerminateMode.STOP, 3.0)
    assert case.engine.calls == []


def test_a_living_group_is_diagnosed_by_its_last_line():
    case = Case()
    case.launch(A)
    assert case.containers.diagnose("a") == "hello"
    assert case.containers.diagnose("nobody") == ""


def test_closing_lets_containers_go_on():
    case = Case()
    case.launch(A)
    case.containers.close()
    assert case.engine.is_closed
    assert case.engine.containers["c1"]["state"] == "running"
