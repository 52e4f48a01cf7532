"""Ids that are made from others."""

import re

import pytest

from scaler_protocol.identifiers import helper_id, new_worker_id, root_of, worker_ids_of


@pytest.mark.parametrize("name", ["NAT", "a+b", "FIX|0123"])
def test_helpers_belong_to_the_worker_at_the_root(name):
    worker = new_worker_id(name)
    helper = helper_id(worker, "i-1")
    deeper = helper_id(helper, "i-2")

    assert root_of(worker) == worker
    assert (helper, deeper) == (f"{worker}+i-1", f"{worker}+i-2")
    assert root_of(helper) == root_of(deeper) == worker


def test_the_ids_of_a_groups_workers_follow_from_the_group():
    ids = worker_ids_of("g-1", "alice", 3)

    assert ids == worker_ids_of("g-1", "alice", 3)
    assert len({*ids, *worker_ids_of("g-2", "alice", 3)}) == 6
    assert all(re.fullmatch(r"Worker\|alice\|[0-9a-f]{32}", worker_id) for worker_id in ids)
