"""What adapters report, what they are asked for, and when they are asked for nothing."""

import pytest

from scaler_protocol import messages as m
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench

RATIO = "allocate=even_load; scaling=vanilla(upper=1,cooldown=5)"


def scaled(tasks=2, policy=RATIO, **profile):
    """Return a bench, a client with tasks, and an adapter that has been asked for groups."""
    bench = Bench(policy)
    client, adapter = bench.client(), bench.adapter(**profile)
    if tasks:
        client.submit(tasks)
    return bench, client, adapter


def test_an_adapter_is_asked_for_all_groups_at_once_on_the_first_task():
    bench, client, adapter = scaled(0)
    bench.effects.take()

    client.submit(3)

    (command,) = bench.effects.take(m.AdapterCommand)
    assert command.revision == 1
    assert [spec.group_id for spec in command.groups] == ["g-1", "g-2", "g-3"]
    assert command.stop == []
    assert adapter.wanted == ["g-1", "g-2", "g-3"]


def test_a_repeated_report_asks_for_nothing_more():
    bench, _, adapter = scaled()
    for state in ("requested", "pending", "running", "ready", "a state of the future"):
        adapter.obey(state)
        adapter.report()
        bench.advance(0.1)

    assert len(adapter.commands) == 1


def test_a_command_names_the_capabilities_of_the_adapter():
    _, _, adapter = scaled(1, capabilities={"gpu": 2})

    assert adapter.commands[-1].groups == [m.GroupSpec("g-1", {"gpu": 2})]


@pytest.mark.parametrize("state", ["gone", "failed", "lost"])
def test_a_group_that_has_ended_is_replaced(state):
    bench, _, adapter = scaled()
    adapter.obey()
    bench.advance(1.0)

    adapter.set("g-1", state, "the node went down")

    assert adapter.wanted == ["g-2", "g-3"]
    assert any("the node went down" in text for _, text in bench.logs)


def test_a_group_that_is_not_reported_any_more_is_replaced():
    bench, _, adapter = scaled()
    adapter.obey()
    bench.advance(1.0)
    del adapter.groups["g-1"]

    adapter.report()

    assert adapter.wanted == ["g-2", "g-3"]


def test_a_report_older_than_the_command_does_not_end_a_group():
    bench, _, adapter = scaled()
    adapter.report()
    bench.advance(1.0)

    assert adapter.wanted == ["g-1", "g-2"]
    assert len(adapter.commands) == 1


@pytest.mark.parametrize("state", ["draining", "stopping"])
def test_a_group_that_the_adapter_ends_itself_is_neither_supply_nor_free_room(state):
    bench, client, adapter = scaled(3, max_groups=4)
    adapter.obey()
    bench.advance(1.0)

    adapter.set("g-1", state, "its time was up")
    client.submit(10)
    bench.advance(1.0)

    assert adapter.wanted == ["g-2", "g-3", "g-4"]
    assert adapter.stop == ["g-1"]


# ---- failures


def test_why_groups_fail_reaches_the_log_and_the_client_whose_tasks_wait():
    bench, client, adapter = scaled(1)
    adapter.obey("pending")

    adapter.set("g-1", "failed", "preload failed: no module named x")

    assert any("preload failed" in text for text in bench.warnings())
    assert [notice.cause for notice in client.notices] == ["worker groups fail: N"]
    assert "no module named x" in client.notices[0].text


def test_why_a_group_failed_that_its_adapter_gave_up_reaches_the_client_too():
    _bench, client, adapter = scaled(1)
    adapter.obey("running")

    adapter.set("g-1", "stopping", "no worker of it registered within 3 seconds")
    adapter.set("g-1", "failed", "no worker of it registered within 3 seconds")

    assert [notice.cause for notice in client.notices] == ["worker groups fail: N"]
    assert "no worker of it registered" in client.notices[0].text


def test_why_the_groups_of_a_constant_number_have_failed_is_said_once():
    bench, client, adapter = scaled(1, max_groups=0)

    adapter.set("own", "failed", "preload failed: no module named x")
    adapter.report()
    adapter.report()

    assert [text for text in bench.warnings() if "preload" in text] == [
        "worker group own of N is failed: preload failed: no module named x"
    ]
    assert ["no module named x" in notice.text for notice in client.notices] == [True]


@pytest.mark.parametrize("state", ["gone", "lost"])
def test_groups_that_ended_before_the_adapter_joined_and_were_up_are_no_news(state):
    bench, client, adapter = scaled(1, max_groups=0)

    adapter.set("own", state, "its machine is gone")

    assert not bench.warnings()
    assert not client.notices


def test_why_a_group_is_pending_is_said_once():
    bench, client, adapter = scaled(1)
    adapter.obey()
    adapter.set("g-1", "pending", "waiting for a node")
    adapter.report()
    adapter.report()

    assert len([text for text in bench.warnings() if "waiting for a node" in text]) == 1
    assert not client.notices  # it may come in time


def test_tasks_that_wait_for_a_pending_group_for_long_are_told_why():
    bench, client, adapter = scaled(1)
    adapter.obey()
    adapter.set("g-1", "pending", "waiting for a node")

    bench.advance(6.0)

    (notice,) = client.notices
    assert notice.cause == "no worker comes"
    assert "N: waiting for a node" in notice.text


def test_clients_are_not_disturbed_while_workers_serve_them():
    bench, client, adapter = scaled(1)
    bench.worker()
    adapter.obey()

    adapter.set("g-1", "failed", "broken")

    assert not client.notices
    assert bench.warnings()


# ---- too much


def test_a_group_that_is_too_much_is_called_off_and_not_asked_for_again():
    bench, client, adapter = scaled(4, max_groups=4)
    adapter.obey()
    for group_id in ("g-3", "g-4"):
        adapter.groups[group_id].state = "pending"
    adapter.report(*(m.GroupStatus(group_id, "WorkerGroupTooMuch", "the limit is 2") for group_id in ("g-3", "g-4")))
    assert adapter.wanted == ["g-1", "g-2"]
    assert adapter.stop == ["g-3", "g-4"]

    adapter.obey()
    client.submit(10)
    bench.advance(60.0)

    assert adapter.wanted == ["g-1", "g-2"]
    assert len(bench.warnings()) == 2


def test_too_much_is_forgotten_when_the_capacity_changes():
    bench, _, adapter = scaled(3, max_groups=3)
    adapter.obey()
    adapter.report(m.GroupStatus("g-3", "WorkerGroupTooMuch", ""))
    adapter.obey()
    bench.advance(1.0)
    assert adapter.wanted == ["g-1", "g-2"]

    adapter.max_groups = 4
    adapter.report()

    assert len(adapter.wanted) == 3


def test_too_much_is_forgotten_when_a_group_has_gone():
    bench, client, adapter = scaled(3, max_groups=3)
    adapter.obey()
    adapter.report(m.GroupStatus("g-3", "WorkerGroupTooMuch", ""))
    adapter.obey()
    bench.advance(1.0)

    adapter.set("g-1", "lost", "")
    client.submit(5)
    bench.advance(1.0)

    assert adapter.wanted == ["g-2", "g-4", "g-5"]


def test_an_adapter_that_understands_nothing_is_not_asked_all_the_time():
    bench, _, adapter = scaled(1)
    for _ in range(20):
        wanted = adapter.wanted
        adapter.revision = adapter.commands[-1].revision
        adapter.report(*(m.GroupStatus(group_id, "UnknownAction", "") for group_id in wanted))
        bench.advance(0.1)

    assert len(adapter.commands) <= 2


@pytest.mark.parametrize(
    "status",
    ["Success", "WorkerGroupIDNotSpecified", "WorkerGroupIDNotFound", "WorkerGroupShutdown", "SomethingNew"],
)
def test_other_statuses_are_information(status):
    bench, _, adapter = scaled(2)
    adapter.obey()

    adapter.report(m.GroupStatus("g-1", status, ""), m.GroupStatus("unknown", "WorkerGroupTooMuch", ""))
    bench.advance(1.0)

    assert len(adapter.commands) == 1


# ---- adapters come and go


def test_groups_that_an_adapter_brings_along_are_adopted():
    bench = Bench(RATIO)
    client = bench.client()
    client.submit(2)
    adapter = bench.adapter()
    adapter.groups = {"old": m.GroupReport("old", "ready", "", [], {})}
    other = Bench(RATIO)
    other.client().submit(2)
    late = other.adapter(groups=adapter.groups)

    assert late.wanted == ["old", "g-1"]


def test_an_adapter_that_comes_back_has_its_groups_again():
    bench, _, adapter = scaled(2)
    adapter.obey()
    adapter.leave("silent for 10 seconds")
    assert bench.state.adapters == {}

    back = bench.adapter(groups=adapter.groups)
    bench.advance(1.0)

    assert back.commands == []
    assert list(bench.state.adapters[b"N"].groups) == ["g-1", "g-2"]


def test_a_restarted_adapter_takes_its_groups_over_from_the_one_that_is_still_waited_for():
    bench, client, adapter = scaled(2)
    adapter.obey()
    workers = [bench.worker(f"W{n}", group=f"g-{n}") for n in (1, 2)]
    back = bench.adapter("N2", groups=adapter.groups)
    for worker in workers:
        worker.complete_all()

    bench.advance(6.0)

    assert sorted(back.stop) == ["g-1", "g-2"]
    assert adapter.stop == []
    adapter.leave("silent for 10 seconds")
    back.obey()
    bench.advance(1.0)
    client.submit(1)
    assert back.wanted == ["g-3"]


def test_a_group_that_was_being_drained_is_stopped_by_whoever_has_it_now():
    bench, _, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker(group="g-1")
    group = bench.state.adapters[b"N"].groups["g-1"]
    bench.core._adapters.drain(bench.state.adapters[b"N"], group, "for the test")

    back = bench.adapter("N2", groups=adapter.groups)
    assert back.stop == []
    worker.complete()

    assert back.stop == ["g-1"]


def test_a_group_that_is_stopping_when_its_adapter_comes_back_takes_a_place():
    bench = Bench(RATIO)
    client = bench.client()
    client.submit(9)
    groups = {"old": m.GroupReport("old", "stopping", "", [], {})}
    adapter = bench.adapter(max_groups=3, groups=groups)

    assert adapter.wanted == ["g-1", "g-2"]


def test_workers_that_drained_go_on_when_there_is_no_adapter_to_end_them():
    bench, client, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker(group="g-1")
    worker.complete()
    bench.advance(6.0)
    assert adapter.stop == ["g-1"]

    adapter.leave("silent for 10 seconds")
    client.submit(1)

    assert worker.held == 1


def test_a_worker_whose_host_drains_gets_nothing_when_its_adapter_goes():
    bench, client, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker(group="g-1")
    worker.complete()
    bench.advance(6.0)
    worker.host.report(W="draining")

    adapter.leave("it stops")
    client.submit(1)

    assert worker.held == 0


def test_an_adapter_out_of_reach_is_asked_for_nothing_and_drains_nothing():
    bench = Bench(RATIO)
    client, away, here = bench.client(), bench.adapter("N1"), bench.adapter("N2")
    client.submit(4)
    bench.advance(0.1)
    away.obey()
    here.obey()
    assert (len(away.wanted), len(here.wanted)) == (2, 2)

    bench.handle(c.PeerDetached(b"N1"))
    client.submit(2)
    bench.advance(0.1)
    assert (len(away.wanted), len(here.wanted)) == (2, 4)
    here.obey()
    client.cancel(1, 0, 4)
    client.cancel(2, 0, 2)
    bench.advance(6.0)
    assert (away.stop, len(here.stop)) == ([], 4)

    bench.handle(c.PeerAttached(b"N1"))
    bench.advance(6.0)
    assert len(away.stop) == 2


def test_too_much_that_leaving_groups_took_up_is_forgotten_when_they_have_gone():
    bench = Bench(RATIO)
    client = bench.client()
    client.submit(2)
    adapter = bench.adapter(max_groups=1)
    found = {"old": m.GroupReport("old", "stopping", "", [], {}), "g-1": m.GroupReport("g-1", "pending", "", [], {})}
    adapter.groups, adapter.revision = found, 1
    adapter.report(m.GroupStatus("g-1", "WorkerGroupTooMuch", "the limit is 1 groups"))
    assert sorted(adapter.stop) == ["g-1", "old"]
    del adapter.groups["g-1"]
    adapter.report()
    bench.advance(1.0)
    assert adapter.wanted == []
    del adapter.groups["old"]

    adapter.report()
    bench.advance(0.1)

    assert adapter.wanted == ["g-2"]


def test_workers_of_an_adapter_that_is_gone_go_on():
    bench, client, adapter = scaled(2)
    adapter.obey()
    worker = bench.worker(group="g-1")

    adapter.leave("silent for 10 seconds")
    worker.complete_all()

    assert len(client.outcomes) == 2


# ---- draining


def test_the_workers_of_a_draining_group_are_empty_before_it_is_stopped():
    bench, _client, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker(group="g-1")
    adapter_state = bench.state.adapters[b"N"]
    bench.core._adapters.drain(adapter_state, adapter_state.groups["g-1"], "for the test")
    bench.settle()
    assert adapter.stop == []
    assert len(worker.recalls) == 1

    worker.complete()

    assert adapter.stop == ["g-1"]


def test_a_worker_that_greets_while_its_group_is_being_stopped_gets_nothing():
    bench, client, adapter = scaled(2)
    adapter.obey("running")
    client.cancel(1, 0, 2)
    bench.advance(6.0)
    assert sorted(adapter.stop) == ["g-1", "g-2"]

    worker = bench.worker(group="g-1")
    client.submit(1)

    assert worker.held == 0


def test_the_next_process_of_a_draining_worker_gets_nothing():
    bench, _client, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker(group="g-1")
    adapter_state = bench.state.adapters[b"N"]
    bench.core._adapters.drain(adapter_state, adapter_state.groups["g-1"], "for the test")

    worker.end()

    assert bench.state.workers["W"].draining
    assert worker.held == 0


# ---- groups whose workers have registered


def test_a_group_is_registered_once_all_its_workers_are():
    bench, _, adapter = scaled(4, max_groups=1, workers_per_group=2)
    adapter.obey("running")
    bench.worker("W1", group="g-1")
    bench.advance(1.0)
    assert len(adapter.commands) == 1

    bench.worker("W2", group="g-1")
    bench.advance(1.0)

    assert [command.registered for command in adapter.commands] == [[], ["g-1"]]


def test_many_groups_that_register_make_one_command():
    bench, _, adapter = scaled(20, max_groups=20)
    adapter.obey()
    for number in range(1, 21):
        bench.worker(f"W{number}", group=f"g-{number}")
        bench.advance(0.01)
    bench.advance(1.0)

    assert [len(command.registered) for command in adapter.commands] == [0, 20]


def test_a_registered_group_stays_so_when_its_worker_is_replaced():
    bench, client, adapter = scaled(2)
    adapter.obey()
    worker = bench.worker("W1", group="g-1")
    bench.advance(1.0)
    worker.end()
    client.submit(2)
    bench.advance(1.0)

    assert adapter.commands[-1].registered == ["g-1"]


def test_what_shall_go_is_not_said_to_be_registered():
    bench, _, adapter = scaled(1)
    adapter.obey()
    worker = bench.worker("W1", group="g-1")
    worker.complete()
    bench.advance(6.0)

    assert (adapter.stop, adapter.commands[-1].registered) == (["g-1"], [])


def test_an_adapter_that_is_new_to_the_scheduler_is_told_which_of_its_groups_are_registered():
    bench = Bench(RATIO)
    client = bench.client()
    bench.worker("W1", group="old")
    client.submit(1)
    adapter = bench.adapter(groups={"old": m.GroupReport("old", "running", "", [], {})})
    bench.advance(1.0)

    assert adapter.commands[-1].registered == ["old"]


def test_without_scaling_nobody_is_told_of_registrations():
    bench = Bench("allocate=even_load; scaling=no")
    adapter = bench.adapter(groups={"old": m.GroupReport("old", "running", "", [], {})})
    bench.worker("W1", group="old")
    bench.advance(10.0)

    assert adapter.commands == []
