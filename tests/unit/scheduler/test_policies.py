"""The policies as pure functions: a snapshot in, a decision with its reason out."""

import pytest

from scaler_scheduler.policies import scale_backlog, scale_capability, scale_fixed_elastic, scale_ratio
from scaler_scheduler.policies.allocate import CAPABILITY, EVEN_LOAD, suits
from scaler_scheduler.policies.scale_ratio import Bounds
from scaler_scheduler.policies.snapshot import AdapterView, Demand, Snapshot, Surplus, spread

A, B, C = b"A", b"B", b"C"


def adapter(peer=A, *, groups=0, capacity=10, workers=1, capabilities=None, **fields):
    return AdapterView(peer, capacity, workers, capabilities or {}, groups, **fields)


def snapshot(tasks=0, *adapters, others=0, known_seconds=0.0, unknown_tasks=0):
    demands = (Demand({}, tasks),) if tasks else ()
    return Snapshot(demands, adapters, (({}, others),) if others else (), known_seconds, unknown_tasks)


# ---- suiting


@pytest.mark.parametrize(
    ("offered", "requested", "expected"),
    [
        ({}, {}, True),
        ({"gpu": 1}, {}, True),
        ({}, {"gpu": -1}, False),
        ({"gpu": 0}, {"gpu": -1}, True),
        ({"gpu": -1}, {"gpu": 100}, True),
        ({"gpu": 2}, {"gpu": 2}, True),
        ({"gpu": 1}, {"gpu": 2}, False),
        ({"gpu": 2}, {"gpu": 1, "tpu": -1}, False),
        ({"gpu": 2, "tpu": -1}, {"gpu": 1, "tpu": -1}, True),
    ],
)
def test_a_worker_suits_by_name_and_by_quantity_where_one_is_asked_for(offered, requested, expected):
    assert suits(offered, requested) is expected
    assert CAPABILITY.suits(offered, requested) is expected
    assert EVEN_LOAD.suits(offered, requested)


def test_even_load_heeds_no_capabilities():
    assert EVEN_LOAD.requested({"gpu": 1}) == {}
    assert CAPABILITY.requested({"gpu": 1}) == {"gpu": 1}


# ---- room and spread


@pytest.mark.parametrize(
    ("view", "room"),
    [
        (adapter(capacity=3), 3),
        (adapter(capacity=3, groups=2), 1),
        (adapter(capacity=3, groups=2, leaving=1), 0),
        (adapter(capacity=3, groups=2, leaving=5), 0),
        (adapter(capacity=1, groups=0, leaving=2), 0),
        (adapter(capacity=-1, groups=1000, leaving=5), float("inf")),
        (adapter(capacity=-1, is_full=True), 0),
        (adapter(capacity=10, is_full=True), 0),
        (adapter(capacity=0), 0),
        (adapter(capacity=3, groups=2, draining=1), 1),
        (adapter(capacity=3, groups=1, draining=1, leaving=1), 1),
        (adapter(capacity=2, groups=2, draining=1), 0),
        (adapter(capacity=3, groups=1, draining=1, is_full=True), 1),
        (adapter(capacity=-1, draining=2, is_full=True), 2),
    ],
)
def test_what_leaves_takes_its_place(view, room):
    assert view.room == room


def test_growth_goes_to_the_fewest_groups_first_and_never_beyond_the_room():
    small, big, unlimited = adapter(A, capacity=1), adapter(B, groups=2, capacity=4), adapter(C, capacity=-1)

    assert spread(5, (small, big, unlimited)) == {A: 1, C: 3, B: 1}
    assert spread(3, (small, big)) == {A: 1, B: 2}
    assert spread(0, (small,)) == {}
    assert spread(5, ()) == {}


def test_growth_takes_back_what_drains_before_it_starts_anything():
    empty, draining = adapter(A), adapter(B, groups=5, draining=2)

    assert spread(2, (empty, draining)) == {B: 2}
    assert spread(3, (empty, draining)) == {B: 2, A: 1}


def test_groups_taken_back_for_one_demand_are_not_taken_back_for_another():
    view = adapter(capacity=4, groups=1, draining=2, is_full=True).grown(1)

    assert (view.groups, view.draining, view.room) == (2, 1, 1)
    assert view.grown(1).room == 0


def test_groups_of_several_workers_are_rounded_up():
    assert spread(5, (adapter(workers=4),)) == {A: 2}


# ---- vanilla


@pytest.mark.parametrize(
    ("tasks", "current", "wanted"),
    [
        (0, 0, 0),
        (0, 7, 0),
        (1, 0, 1),
        (1, 1, 1),
        (10, 0, 1),
        (11, 0, 2),
        (100, 0, 10),
        (100, 50, 50),
        (100, 100, 100),
        (100, 101, 100),
        (5, 8, 5),
    ],
)
def test_vanilla_keeps_the_tasks_for_each_worker_between_its_bounds(tasks, current, wanted):
    assert Bounds(upper=10, lower=1).workers(tasks, current) == wanted


def test_bounds_below_one_task_for_each_worker():
    assert Bounds(upper=5, lower=0.5).workers(3, 100) == 6


def test_vanilla_grows_and_says_why():
    decision = scale_ratio.decide(Bounds(10, 1), snapshot(25, adapter(groups=1), others=1))

    assert decision.growth == {A: 1}
    assert decision.surplus == ()
    assert decision.reason == "25 tasks, 2 workers, 3 wanted"


def test_vanilla_releases_what_is_too_much_from_any_adapter():
    decision = scale_ratio.decide(Bounds(10, 1), snapshot(2, adapter(A, groups=3), adapter(B, groups=2)))

    assert decision.growth == {}
    assert decision.surplus == (Surplus(frozenset({A, B}), 3),)


def test_vanilla_between_the_bounds_changes_nothing():
    decision = scale_ratio.decide(Bounds(10, 1), snapshot(20, adapter(groups=5)))

    assert (decision.growth, decision.surplus) == ({}, ())


# ---- capability


def demand(tasks, **capabilities):
    return Demand(capabilities, tasks)


def test_capability_asks_only_adapters_able_to():
    plain, gpu = adapter(A), adapter(B, capabilities={"gpu": 1})

    decision = scale_capability.decide(Bounds(5, 0.5), Snapshot((demand(10, gpu=1),), (plain, gpu)))

    assert decision.growth == {B: 2}
    assert "gpu" in decision.reason


def test_capability_counts_the_workers_of_others_that_suit():
    gpu = adapter(B, capabilities={"gpu": 1})
    others = (({"gpu": 2}, 1), ({}, 5))

    decision = scale_capability.decide(Bounds(5, 0.5), Snapshot((demand(10, gpu=1),), (gpu,), others))

    assert decision.growth == {B: 1}


def test_capability_lets_special_workers_serve_plain_tasks_before_it_asks_for_more():
    plain, gpu = adapter(A), adapter(B, capabilities={"gpu": 1})

    decision = scale_capability.decide(Bounds(5, 0.5), Snapshot((demand(5), demand(10, gpu=1)), (plain, gpu)))

    assert decision.growth == {B: 2}


def test_capability_asks_nobody_for_what_nobody_offers():
    decision = scale_capability.decide(Bounds(5, 0.5), Snapshot((demand(10, tpu=1),), (adapter(A),)))

    assert (decision.growth, decision.surplus) == ({}, ())


def test_the_last_suitable_worker_stays_while_tasks_remain():
    gpu = adapter(B, groups=1, capabilities={"gpu": 1})
    decision = scale_capability.decide(Bounds(5, 5), Snapshot((demand(1, gpu=1),), (gpu,)))
    assert decision.surplus == ()

    decision = scale_capability.decide(Bounds(5, 5), Snapshot((), (gpu,)))
    assert decision.surplus == (Surplus(frozenset({B}), 1),)


def test_a_surplus_is_what_nobody_misses():
    plain, gpu = adapter(A, groups=3), adapter(B, groups=3, capabilities={"gpu": 1})

    decision = scale_capability.decide(Bounds(5, 0.5), Snapshot((demand(1, gpu=1),), (plain, gpu)))

    assert decision.surplus == (Surplus(frozenset({A}), 3), Surplus(frozenset({B}), 1))


def test_two_demands_do_not_release_the_same_worker_twice():
    one, other = adapter(A, groups=2), adapter(B, groups=2)

    decision = scale_capability.decide(Bounds(1, 1), Snapshot((demand(3),), (one, other)))

    assert sum(surplus.workers for surplus in decision.surplus) == 1


# ---- fixed_elastic


def test_an_adapter_for_one_group_has_it_always():
    decision = scale_fixed_elastic.decide(Bounds(10, 1), snapshot(0, adapter(A, capacity=1), adapter(B)))

    assert decision.growth == {A: 1}
    assert decision.surplus == ()


def test_the_primary_worker_counts_and_is_never_a_surplus():
    primary, secondary = adapter(A, capacity=1, groups=1), adapter(B, groups=1)

    assert scale_fixed_elastic.decide(Bounds(10, 1), snapshot(10, primary, secondary)).growth == {}
    assert scale_fixed_elastic.decide(Bounds(10, 1), snapshot(30, primary, secondary)).growth == {B: 1}
    released = scale_fixed_elastic.decide(Bounds(10, 1), snapshot(0, primary, secondary)).surplus
    assert [surplus.adapters for surplus in released] == [frozenset({B})]


def test_an_adapter_whose_other_group_is_leaving_is_no_primary():
    decision = scale_fixed_elastic.decide(Bounds(10, 1), snapshot(0, adapter(A, capacity=2, leaving=1)))

    assert decision.growth == {}


def test_a_primary_adapter_with_more_than_its_group_gives_up_the_rest():
    decision = scale_fixed_elastic.decide(Bounds(10, 1), snapshot(5, adapter(A, capacity=1, groups=3, workers=2)))

    assert (decision.growth, decision.surplus) == ({}, (Surplus(frozenset({A}), 4),))


def test_a_primary_adapter_that_refuses_does_not_count_as_a_worker():
    primary, secondary = adapter(A, capacity=1, is_full=True), adapter(B)

    assert scale_fixed_elastic.decide(Bounds(10, 1), snapshot(1, primary, secondary)).growth == {B: 1}


# ---- backlog


@pytest.mark.parametrize(
    ("tasks", "known_seconds", "unknown_tasks", "wanted"),
    [
        (0, 0.0, 0, 0),
        (1, 0.0001, 0, 1),
        (10, 0.0, 10, 10),  # unknown ones: one worker each
        (10, 36_000.0, 0, 10),  # ten hours: never more workers than tasks
        (1_000_000, 1.0, 0, 1),
        (1_000_000, 1.5, 0, 2),
        (100, 5.0, 0, 5),
        (100, 5.0, 3, 8),
    ],
)
def test_backlog_wants_the_seconds_of_work_divided_by_the_target(tasks, known_seconds, unknown_tasks, wanted):
    view = snapshot(tasks, adapter(capacity=-1), known_seconds=known_seconds, unknown_tasks=unknown_tasks)

    assert scale_backlog.decide(1.0, view).growth.get(A, 0) == wanted


@pytest.mark.parametrize(
    ("tasks", "workers", "wanted"),
    [
        (100, 5, 4),  # four seconds of work: through within two by two workers, within half of that by four
        (100, 4, 4),
        (100, 3, 3),
        (2, 4, 2),  # never more than tasks
        (0, 4, 0),
    ],
)
def test_backlog_releases_workers_that_half_the_target_does_not_keep_busy(tasks, workers, wanted):
    decision = scale_backlog.decide(2.0, snapshot(tasks, adapter(groups=workers), known_seconds=4.0 * bool(tasks)))

    assert sum(surplus.workers for surplus in decision.surplus) == workers - wanted
    assert decision.growth == {}
    assert decision.reason.endswith(f"{workers} workers, {wanted} wanted")
