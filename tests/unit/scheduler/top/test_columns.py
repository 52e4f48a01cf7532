"""Which key sorts by what, and which way."""

from math import nan

import pytest

from scaler_scheduler.top.columns import COLUMNS, Order
from tests.unit.scheduler.top.builders import worker

KEYS = {
    "group": "g",
    "worker": "n",
    "agt_cpu": "C",
    "agt_rss": "M",
    "cpu": "c",
    "rss": "m",
    "os_rss_free": "F",
    "free": "f",
    "sent": "w",
    "queued": "d",
    "suspended": "s",
    "lag": "l",
    "ITL": "",
}
WORKERS = [worker("a", cpu=5.0, group_id="y"), worker("b", cpu=50.0, group_id="x"), worker("c", cpu=5.0, group_id="z")]


def names(order):
    return "".join(one.worker_id for one in order.sort(WORKERS))


def test_columns_and_keys_are_those_of_the_documentation():
    assert {column.title: column.key for column in COLUMNS} == KEYS


def test_cpu_decides_at_first_the_highest_on_top():
    assert names(Order()) == "bac"


def test_the_same_key_again_reverses():
    once = Order().pressed("c")

    assert names(once) == "acb"
    assert once.pressed("c") == Order()


def test_names_go_from_a_to_z_and_back():
    assert names(Order().pressed("g")) == "bac"
    assert names(Order().pressed("g").pressed("g")) == "cab"


@pytest.mark.parametrize("key", ["x", "I", "", "\x1a", "G"])
def test_other_keys_change_nothing(key):
    assert Order("l").pressed(key) == Order("l")


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.title)
def test_every_column_can_be_shown_and_sorted_by(column):
    odd = worker("odd", cpu=nan, lag_seconds=nan, silent_seconds=nan)

    assert all(column.text(one) is not None for one in [*WORKERS, odd])
    assert {one.worker_id for one in Order(column.key or "c").sort([*WORKERS, odd])} == {"a", "b", "c", "odd"}


def test_silent_workers_have_the_greatest_lag():
    silent, slow, fast = (
        worker("silent", silent_seconds=9.0, lag_seconds=0.1),
        worker("slow", lag_seconds=3.0),
        worker("fast"),
    )

    assert Order("l").sort([fast, slow, silent]) == [silent, slow, fast]


def test_the_three_digits():
    (column,) = [column for column in COLUMNS if column.title == "ITL"]

    assert column.text(worker("w", initialised=True, has_task=True, task_lock=False)) == "110"
