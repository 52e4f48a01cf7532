"""Seconds of unfinished work, and what tasks of unknown duration count as."""

from scaler_scheduler.core.backlog import MANY_TASKS, MOMENT_SECONDS, PROBES, TRIAL_SECONDS, TRUSTED_SECONDS
from tests.unit.scheduler.builders import Bench, learn

BACKLOG = "allocate=even_load; scaling=backlog(target=1,cooldown=5)"


def test_known_tasks_count_with_their_average_and_unknown_ones_as_the_target():
    bench = Bench(BACKLOG)
    client, worker = bench.client(), bench.worker("other")
    learn(bench, client, worker, 0.5, "known")
    adapter = bench.adapter(max_groups=-1)

    client.submit(10, "known")
    bench.advance(0.1)
    assert len(adapter.wanted) == 4  # five seconds of work, and one worker is there

    client.submit(3, "new")
    bench.advance(0.1)
    assert len(adapter.wanted) == 7


def test_few_unknown_tasks_have_a_worker_each_after_a_moment():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)

    client.submit(MANY_TASKS)
    assert len(adapter.wanted) == PROBES
    bench.advance(MOMENT_SECONDS)

    assert len(adapter.wanted) == MANY_TASKS
    assert bench.core.next_wakeup() is None


def test_the_first_of_very_many_short_tasks_do_not_bring_many_workers():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(8)
    bench.advance(MOMENT_SECONDS / 2)
    client.submit(4000)
    bench.advance(MOMENT_SECONDS)

    assert len(adapter.wanted) == PROBES


def test_of_many_unknown_tasks_some_are_tried_first_and_their_results_tell():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(4000)
    assert len(adapter.wanted) == PROBES

    bench.advance(0.1)
    adapter.obey()
    worker = bench.worker("W1", group="g-1")
    worker.complete(seconds=0.0001)
    bench.advance(TRIAL_SECONDS + 1.0)

    assert len(adapter.wanted) == PROBES


def test_many_tasks_are_judged_by_the_first_when_enough_was_measured():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(1000)
    bench.advance(0.1)
    adapter.obey()
    worker = bench.worker("W1", group="g-1")

    worker.complete(seconds=TRUSTED_SECONDS * 0.9)  # maybe held up
    bench.advance(0.1)
    assert len(adapter.wanted) == PROBES

    worker.complete(seconds=TRUSTED_SECONDS * 0.9)
    bench.advance(0.1)
    assert 80 <= len(adapter.wanted) <= 90


def test_many_tasks_of_which_little_was_measured_are_judged_by_that_after_a_while():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(1000)
    adapter.obey()
    worker = bench.worker("W1", group="g-1")
    worker.complete(seconds=0.01)
    assert len(adapter.wanted) == PROBES

    bench.advance(TRIAL_SECONDS + 0.1)

    assert 9 <= len(adapter.wanted) <= 10


def test_many_unknown_tasks_of_which_none_ends_for_a_while_all_count():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(200)
    bench.advance(TRIAL_SECONDS - 0.1)
    assert len(adapter.wanted) == PROBES

    bench.advance(0.2)

    assert len(adapter.wanted) == 200
    assert bench.core.next_wakeup() is None


def test_the_trial_begins_again_when_a_worker_has_the_first_of_them():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(200)
    bench.advance(TRIAL_SECONDS - 0.1)
    adapter.obey()
    bench.worker("W1", group="g-1")
    bench.advance(TRIAL_SECONDS - 0.1)
    assert len(adapter.wanted) == PROBES

    bench.worker("W2", group="g-2")
    bench.advance(0.2)

    assert len(adapter.wanted) == 200


def test_each_function_is_tried_for_itself():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    client.submit(100, "f")
    bench.advance(0.5)
    client.submit(100, "g")
    bench.advance(0.1)
    assert len(adapter.wanted) == 2 * PROBES

    bench.advance(0.5)
    assert len(adapter.wanted) == 100 + PROBES
    bench.advance(0.5)
    assert len(adapter.wanted) == 200


def test_a_function_that_was_done_with_and_comes_again_is_tried_again():
    bench = Bench(BACKLOG)
    client, adapter = bench.client(), bench.adapter(max_groups=-1)
    batch = client.submit(100)
    client.cancel(batch, 0, 100)
    bench.advance(TRIAL_SECONDS)

    client.submit(100)
    bench.advance(0.1)

    assert len(adapter.wanted) == PROBES
