"""The last outcomes of a client: found by task, and bounded."""

from scaler_protocol.batch import Status
from scaler_scheduler.core.recent import MAX_BYTES, MAX_MESSAGES, Recent
from tests.unit.scheduler.builders import results


def test_outcomes_are_found_in_the_order_of_tasks():
    recent = Recent()
    recent.add(results(0, b"", 1, 4, 2))
    recent.add(results(0, b"", 2, 0, 1))
    recent.add(results(0, b"", 1, 0, 2, status=Status.EXCEPTION))

    assert [(run.start, run.stop, run.status, run.payload) for run in recent.runs(1)] == [
        (0, 1, Status.EXCEPTION, b"0"),
        (1, 2, Status.EXCEPTION, b"1"),
        (4, 5, Status.VALUE, b"4"),
        (5, 6, Status.VALUE, b"5"),
    ]
    assert recent.runs(3) == []


def test_the_oldest_go_when_there_are_too_many():
    recent = Recent()
    for batch in range(MAX_MESSAGES + 5):
        recent.add(results(0, b"", batch, 0, 1))

    assert recent.runs(4) == []
    assert recent.runs(5) != []


def test_the_oldest_go_when_they_are_too_large():
    recent = Recent()
    for batch in range(5):
        message = results(0, b"", batch, 0, 1)
        message.payload = bytes(MAX_BYTES // 2)
        recent.add(message)

    assert [batch for batch in range(5) if recent.runs(batch)] == [3, 4]


def test_what_is_larger_than_all_together_is_not_kept():
    recent = Recent()
    recent.add(results(0, b"", 1, 0, 1))
    message = results(0, b"", 2, 0, 1)
    message.payload = bytes(MAX_BYTES + 1)

    recent.add(message)

    assert recent.runs(1)
    assert not recent.runs(2)


def test_that_a_batch_came_too_late_is_no_outcome():
    recent = Recent()
    recent.add(results(0, b"", 1, 0, 3, status=Status.DEPENDENCY_OVER))

    assert not recent.runs(1)
