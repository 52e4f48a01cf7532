"""What holds for every decision, whatever is wanted and whatever is there."""

from hypothesis import given
from hypothesis import strategies as st

from scaler_adapter_core.backoff import Backoff, Cause
from scaler_adapter_core.model import Desired, Group, GroupState, Limits, Observed, Want
from scaler_adapter_core.provider import TerminateMode
from scaler_adapter_core.reconcile import Hold, Launch, Observe, Terminate, Wait, reconcile

IDS = st.sampled_from([f"g{number}" for number in range(12)])
TIMES = st.floats(0, 100)


@st.composite
def groups(draw):
    table = {}
    for group_id in draw(st.sets(IDS)):
        state = draw(st.sampled_from(GroupState))
        group = Group(group_id, {}, state, draw(TIMES), draw(TIMES), draw(TIMES))
        group.is_unknown = group.is_live and draw(st.booleans())
        if group.is_live and draw(st.booleans()):
            group.asked, group.asked_at = draw(st.sampled_from(TerminateMode)), draw(TIMES)
            group.unheard = draw(st.integers(0, 2000))
        table[group_id] = group
    return table


@st.composite
def backoffs(draw):
    backoff = Backoff()
    for cause in draw(st.lists(st.sampled_from(Cause), max_size=8)):
        at = draw(TIMES)
        backoff.failed(cause, "because", at, launched_at=draw(TIMES))
    return backoff


@st.composite
def situations(draw):
    wanted = draw(st.lists(IDS, unique=True))
    stop = draw(st.frozensets(IDS))
    limit = draw(st.integers(-1, 8))
    registration = draw(st.none() | st.floats(1, 100))
    return (
        Desired({group_id: Want(group_id) for group_id in wanted}, stop, {"linux": -1}),
        Observed(draw(groups()), draw(backoffs()), draw(TIMES)),
        Limits(max_groups=limit, registration_seconds=registration),
        draw(st.floats(100, 200)),
    )


@given(situations())
def test_the_limit_holds_counting_what_starts_and_what_stops(situation):
    _, observed, limits, _ = situation
    launches = [action for action in reconcile(*situation) if isinstance(action, Launch)]
    live = sum(group.is_live for group in observed.groups.values())

    assert limits.max_groups < 0 or not launches or live + len(launches) <= limits.max_groups


@given(situations())
def test_only_what_shall_go_or_has_missed_its_deadline_is_ended(situation):
    desired, observed, limits, _ = situation
    for action in reconcile(*situation):
        if isinstance(action, Terminate):
            group = observed.groups[action.group_id]
            is_late = group.state is GroupState.RUNNING and limits.registration_seconds is not None
            assert group.is_live
            assert not group.is_unknown
            assert group.group_id in desired.stop or group.asked is not None or is_late


@given(situations())
def test_what_the_engine_did_not_take_is_not_asked_for_harder(situation):
    _, observed, _, _ = situation
    for action in reconcile(*situation):
        if isinstance(action, Terminate):
            group = observed.groups[action.group_id]
            assert not group.unheard or action.mode is group.asked


@given(situations())
def test_every_group_gets_at_most_one_decision_and_every_missing_one_exactly_one(situation):
    desired, observed, _, now = situation
    decided = []
    for action in reconcile(*situation):
        if isinstance(action, Launch):
            decided.append(action.spec.group_id)
        elif isinstance(action, Hold):
            assert action.reason
            decided.append(action.group_id)
        elif isinstance(action, Terminate | Observe):
            decided.append(action.group_id)
        else:
            assert isinstance(action, Wait)
            assert action.until > now
    assert len(decided) == len(set(decided))
    missing = set(desired.wanted) - desired.stop - observed.groups.keys()
    assert missing <= set(decided)


@given(situations())
def test_what_exists_or_has_ended_is_never_launched_and_order_is_kept(situation):
    desired, observed, _, _ = situation
    launched = [action.spec.group_id for action in reconcile(*situation) if isinstance(action, Launch)]
    waiting = [key for key in desired.wanted if key not in observed.groups and key not in desired.stop]

    assert launched == waiting[: len(launched)]


@given(situations())
def test_deciding_changes_nothing_and_gives_the_same_again(situation):
    before = repr(situation[1].groups)
    first, second = reconcile(*situation), reconcile(*situation)

    assert first == second
    assert repr(situation[1].groups) == before


@given(situations())
def test_nothing_starts_during_a_pause_and_one_after_it(situation):
    _, observed, _, now = situation
    launches = [action for action in reconcile(*situation) if isinstance(action, Launch)]
    pause = observed.backoff.longest
    if pause is not None and now < pause.until:
        assert launches == []
    elif observed.backoff.trying is not None:
        assert len(launches) <= 1
