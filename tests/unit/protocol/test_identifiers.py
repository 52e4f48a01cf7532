"""Ids that are made from others."""

import re

import pytest

from scaler_protocol.identifiers import helper_id, new_worker_id, result_key, root_of, worker_ids_of


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


def test_each_result_of_each_slice_has_a_key_of_its_own_that_everybody_knows():
    keys = {result_key(client, piece, task) for client in (b"a", b"b") for piece in (1, 1 << 40) for task in (0, 7)}
    assert len(keys) == 8
    assert {len(key) for key in keys} == {16}
    assert result_key(b"a", 1, 0) in keys
