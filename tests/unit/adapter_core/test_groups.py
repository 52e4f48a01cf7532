"""The table of groups has bounds, and puts together what engines show."""

import pytest

from scaler_adapter_core.groups import MAX_ENDED, MAX_USED, Groups
from scaler_adapter_core.model import GroupState, Limits
from scaler_adapter_core.provider import LaunchSpec, TerminateMode, Unit, UnitState


def test_ended_groups_and_used_ids_are_bounded():
    groups = Groups(Limits())
    for number in range(MAX_USED + 10):
        groups.add_ended(LaunchSpec(f"g{number}", {}), GroupState.FAILED, "because", 1.0)

    assert len(groups.table) == MAX_ENDED
    assert not groups.was_used("g9")
    assert groups.was_used("g10")


def test_two_units_of_one_group_are_one_with_both_workers():
    groups = Groups(Limits())
    changes = groups.on_observed(
        [
            Unit("a", UnitState.FAILED, "crash", ("w1",)),
            Unit("a", UnitState.READY, "", ("w2",)),
        ],
        1.0,
    )

    assert [change.group.group_id for change in changes] == ["a"]
    assert groups.table["a"].state is GroupState.READY
    assert groups.table["a"].worker_ids == ["w1", "w2"]


def test_the_ends_of_an_earlier_life_are_nobodys_business():
    groups = Groups(Limits())

    assert groups.on_observed([Unit("a", UnitState.FAILED, "crash")], 1.0) == []
    assert groups.table == {}


def test_a_unit_that_runs_for_long_has_come_up_where_readiness_is_not_known():
    for registration, state in ((None, GroupState.LOST), (100.0, GroupState.FAILED)):
        groups = Groups(Limits(registration_seconds=registration))
        groups.on_observed([Unit("a", UnitState.RUNNING)], 1.0)
        groups.on_observed([Unit("a", UnitState.RUNNING)], 40.0)
        groups.on_observed([Unit("a", UnitState.FAILED, "node failure")], 41.0)
        assert groups.table["a"].state is state


def test_what_was_asked_to_end_shows_it_at_once():
    groups = Groups(Limits())
    groups.on_observed([Unit("a", UnitState.READY)], 1.0)
    groups.on_asked("a", TerminateMode.DRAIN, "", 2.0)
    assert groups.table["a"].state is GroupState.DRAINING

    groups.on_observed([Unit("a", UnitState.READY)], 3.0)
    assert groups.table["a"].state is GroupState.DRAINING
    groups.on_observed([], 4.0)
    assert groups.table["a"].state is GroupState.GONE


def test_the_table_is_proven_consistent():
    groups = Groups(Limits())
    groups.on_launching([LaunchSpec("a", {})], 1.0)
    groups.add_ended(LaunchSpec("b", {}), GroupState.FAILED, "because", 1.0)
    groups.on_told(2.0)
    groups.check()
    groups.table["a"].told_at = 2.0
    with pytest.raises(AssertionError):
        groups.check()
