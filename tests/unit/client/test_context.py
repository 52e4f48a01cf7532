"""Where a task finds itself."""

from scaler_client import context


def test_tasks_of_a_task_go_before_their_parent():
    assert context.get() is None
    assert context.priority() == 0
    here = context.TaskContext("tcp://127.0.0.1:1", 2, b"x" * 16)
    context.set_context(here)
    try:
        assert context.get() is here
        assert context.priority() == 3
    finally:
        context.set_context(None)
    assert context.priority() == 0


def test_task_ids_have_sixteen_bytes_and_differ():
    ids = {context.task_id_of(client, batch, index) for client in (b"a", b"b") for batch in (1, 2) for index in (0, 1)}
    assert len(ids) == 8
    assert {len(task_id) for task_id in ids} == {16}


def test_a_process_is_told_how_many_of_its_clients_wait():
    home, told = context.Home("W", 1), []
    home.note_waiting(1)  # before anybody asks, as in what is preloaded
    home.tell_waiting(told.append)
    home.note_waiting(1)
    home.note_waiting(-1)
    home.note_waiting(-1)
    assert told == [1, 2, 1, 0]


def test_a_forked_process_tells_nothing_in_the_name_of_its_parent():
    told = []
    home = context.Home("W", 1, pid=1)
    home.tell_waiting(told.append)
    home.note_waiting(1)
    assert told == [0]
