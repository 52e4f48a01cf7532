"""What a peer's socket makes of a connection that it hears of late. Without sockets."""

import os

from scaler_runtime import transport


def test_where_the_number_of_a_connection_is_a_files_by_now_nothing_is_left_open(tmp_path):
    number = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    free = os.dup(number)
    os.close(free)

    transport._end_if_to_itself(number)

    assert os.dup(number) == free
    os.close(free)
    os.close(number)


def test_a_connection_that_has_ended_is_left_alone(tmp_path):
    number = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    os.close(number)
    transport._end_if_to_itself(number)
