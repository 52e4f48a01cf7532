"""One decision at a time."""

from math import inf

from scaler_adapter_core.backoff import Backoff, Cause
from scaler_adapter_core.model import Desired, Group, GroupState, Limits, Observed, Want
from scaler_adapter_core.provider import LaunchSpec, TerminateMode
from scaler_adapter_core.reconcile import Hold, Launch, Observe, Terminate, Wait, reconcile


def group(group_id="a", state=GroupState.READY, **more):
    made = Group(group_id, {}, state, 0.0, 0.0, 0.0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def decide(
    wanted=(), stop=(), groups=(), *, limits=None, now=100.0, backoff=None, mode=TerminateMode.STOP, kill_at=inf
):
    desired = Desired({key: Want(key) for key in wanted}, frozenset(stop), {"linux": -1}, mode, kill_at)
    observed = Observed({item.group_id: item for item in groups}, backoff or Backoff())
    return reconcile(desired, observed, limits or Limits(), now)


def test_what_is_missing_is_launched():
    assert decide(["a"]) == [Launch(LaunchSpec("a", {"linux": -1}))]


def test_what_is_there_is_left_alone():
    assert decide(["a"], groups=[group()]) == []
    assert decide([], groups=[group()]) == []


def test_what_shall_go_is_asked_in_the_way_wanted():
    assert decide(stop="a", groups=[group()]) == [Terminate("a", TerminateMode.STOP, 3.0)]
    assert decide(stop="a", groups=[group()], mode=TerminateMode.DRAIN) == [Terminate("a", TerminateMode.DRAIN, 5.0)]


def test_a_stop_is_waited_for_then_a_kill_follows_and_is_repeated():
    asked = group(state=GroupState.STOPPING, asked=TerminateMode.STOP, asked_at=100.0)
    assert decide(stop="a", groups=[asked], now=103.0) == [Wait(104.0)]
    assert decide(stop="a", groups=[asked], now=104.0)[0].mode is TerminateMode.KILL

    killed = group(state=GroupState.STOPPING, asked=TerminateMode.KILL, asked_at=100.0)
    assert decide(stop="a", groups=[killed], now=104.0) == [Wait(105.0)]
    assert decide(stop="a", groups=[killed], now=105.0)[0].mode is TerminateMode.KILL


def test_what_the_engine_did_not_take_is_asked_again_and_not_harder():
    unheard = group(state=GroupState.STOPPING, asked=TerminateMode.STOP, asked_at=100.0, unheard=3, doom="too late")
    assert decide(stop="a", groups=[unheard], now=101.9) == [Wait(102.0)]
    assert decide(stop="a", groups=[unheard], now=102.0) == [Terminate("a", TerminateMode.STOP, 3.0, "too late")]
    assert decide(stop="a", groups=[unheard], now=900.0)[0].mode is TerminateMode.STOP

    kill = group(state=GroupState.STOPPING, asked=TerminateMode.KILL, asked_at=100.0, unheard=1)
    assert decide(stop="a", groups=[kill], now=100.5) == [Terminate("a", TerminateMode.KILL, 0.0)]


def test_at_the_last_moment_everything_is_killed_once():
    drained = group(state=GroupState.DRAINING, asked=TerminateMode.DRAIN, asked_at=100.0)
    unheard = group("b", state=GroupState.STOPPING, asked=TerminateMode.STOP, asked_at=100.0, unheard=9)
    killed = group("c", state=GroupState.STOPPING, asked=TerminateMode.KILL, asked_at=100.0)
    groups = [drained, unheard, killed]
    assert decide(groups=groups, now=101.0, kill_at=102.0) == [Wait(102.0), Wait(102.0), Wait(105.0)]
    actions = decide(groups=groups, now=102.0, kill_at=102.0)
    assert [action.mode for action in actions[:2]] == [TerminateMode.KILL] * 2
    assert actions[2] == Wait(105.0)


def test_what_nobody_knows_is_looked_at_first_even_if_it_shall_go():
    assert decide(["a"], ["a"], [group(state=GroupState.REQUESTED, is_unknown=True)]) == [Observe("a")]


def test_the_deadline_for_registering():
    limits = Limits(registration_seconds=30)
    assert decide(groups=[group(state=GroupState.RUNNING, since=80.0)], limits=limits) == [Wait(110.0)]
    (action,) = decide(groups=[group(state=GroupState.RUNNING, since=70.0)], limits=limits)
    assert action.reason == "no worker of it registered within 30 seconds"
    assert decide(groups=[group(state=GroupState.PENDING, since=0.0)], limits=limits) == []


def test_what_is_beyond_the_limit_is_too_much_unless_others_leave():
    limits = Limits(max_groups=1)
    held = decide(["a", "b"], limits=limits)[1]
    assert held == Hold("b", "the limit is 1 groups", is_too_much=True)

    leaving = group("z", GroupState.STOPPING, asked=TerminateMode.STOP, asked_at=100.0)
    assert decide(["a"], groups=[leaving], limits=limits)[-1] == Hold("a", "the limit is 1 groups, 1 have yet to end")


def test_a_pause_holds_everything_then_one_goes_first():
    backoff = Backoff()
    backoff.failed(Cause.START, "preload failed", 99.9, launched_at=99.0)
    actions = decide(["a", "b"], backoff=backoff)
    assert actions[0] == Wait(100.4)
    assert [type(action) for action in actions[1:]] == [Hold, Hold]

    actions = decide(["a", "b"], backoff=backoff, now=100.4)
    assert [type(action) for action in actions] == [Launch, Hold]
    assert "preload failed" in actions[1].reason

    trying = group("a", GroupState.RUNNING, launched_at=100.4)
    assert [type(action) for action in decide(["a", "b"], groups=[trying], backoff=backoff, now=101.0)] == [Hold]
