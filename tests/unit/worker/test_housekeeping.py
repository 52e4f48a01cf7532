"""Garbage and free memory."""

from scaler_worker.housekeeping import Housekeeping, own_resident_bytes


def keeper(resident=0, threshold=100):
    done = []
    housekeeping = Housekeeping(
        30,
        threshold,
        collect=lambda: done.append("collect"),
        resident_bytes=lambda: resident,
        trim=lambda: done.append("trim"),
    )
    return housekeeping, done


def test_nothing_is_due_without_work():
    housekeeping, done = keeper()
    assert housekeeping.patience(0.0) is None
    housekeeping.run_if_due(1000.0)
    assert done == []


def test_it_is_due_once_after_work():
    housekeeping, done = keeper()
    housekeeping.note_work(10.0)
    housekeeping.note_work(20.0)
    assert housekeeping.patience(15.0) == 25.0
    housekeeping.run_if_due(39.9)
    assert done == []
    housekeeping.run_if_due(40.0)
    assert done == ["collect"]
    assert housekeeping.patience(41.0) is None


def test_memory_is_given_back_above_the_threshold():
    housekeeping, done = keeper(resident=101)
    housekeeping.note_work(0.0)
    housekeeping.run_if_due(30.0)
    assert done == ["collect", "trim"]


def test_the_system_tells_the_resident_size():
    assert own_resident_bytes() > 1 << 20
    real = Housekeeping(1, 0)
    real.note_work(0.0)
    real.run_if_due(1.0)
