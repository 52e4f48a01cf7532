"""Records in shared memory."""

import os

import pytest

from scaler_worker.record import SLICE, STARTED, STARTED_TASK, TASK, Records, Running, open_record


def test_a_process_writes_what_the_host_reads():
    records = Records(4)
    slot, seen = records.take()
    own = open_record(os.dup(records.descriptor), slot)
    assert seen.running() is None
    own.numbers[TASK] = 5
    own.seconds[STARTED], own.numbers[STARTED_TASK] = 1.5, 5
    own.numbers[SLICE] = 7
    assert seen.running() == Running(7, 5, 1.5)
    own.numbers[TASK] = 6
    assert seen.running() == Running(7, 6, None)
    records.close()


def test_slots_do_not_overlap():
    records = Records(3)
    taken = [records.take() for _ in range(3)]
    for number, (_, record) in enumerate(taken):
        record.numbers[SLICE] = number + 1
        record.numbers[7] = 100 + number
    assert [record.numbers[SLICE] for _, record in taken] == [1, 2, 3]
    assert [record.numbers[7] for _, record in taken] == [100, 101, 102]


def test_a_slot_comes_back_empty():
    records = Records(1)
    slot, record = records.take()
    record.numbers[SLICE] = 7
    with pytest.raises(OSError, match="all 1 records"):
        records.take()
    records.give_back(slot)
    assert records.take()[1].running() is None


def test_the_host_sees_whether_a_task_is_suspended():
    records = Records(1)
    slot, seen = records.take()
    own = open_record(os.dup(records.descriptor), slot)
    assert not seen.is_suspended
    own.note_waiting(2)
    assert seen.is_suspended
    own.note_waiting(0)
    assert not seen.is_suspended
    records.close()
