"""How the last words of a dead process are shown."""

from scaler_worker.stderr_tail import MOST_BYTES, headline, readable

CRASH = b"""before
Fatal Python error: Segmentation fault

Stack (most recent call first):
  File "/lib/ctypes/__init__.py", line 519 in string_at
  File "/home/me/work.py", line 3 in task
  File "/lib/scaler_worker/executor.py", line 200 in _run_values
  File "/lib/scaler_runtime/zygote_process.py", line 1 in main
  File "<string>", line 1 in <module>

Extension modules: numpy.core, pandas (total: 93)
"""


def test_short_ones_stay_whole():
    assert readable(b"") == ""
    assert readable(b"no newline") == "no newline"
    assert readable(b"one\ntwo\n") == "one\ntwo\n"


def test_bytes_that_are_no_text_are_replaced():
    assert readable(b"\xff\0!") == "��!"


def test_of_long_ones_the_last_whole_lines_are_kept():
    text = b"".join(b"line %06d\n" % number for number in range(1000))
    kept = readable(text)
    assert len(kept.encode()) <= MOST_BYTES
    assert kept.startswith("line ")
    assert kept.endswith("line 000999\n")
    assert len(kept.encode()) > MOST_BYTES - 12
    assert readable(b"first\n" + b"x" * (MOST_BYTES - 1) + b"\n") == "x" * (MOST_BYTES - 1) + "\n"


def test_of_one_long_line_the_end_is_kept():
    assert readable("€".encode() * MOST_BYTES) == "€" * (MOST_BYTES // 3)


def test_a_crash_shows_the_task_and_nothing_of_ours():
    assert readable(CRASH).splitlines() == [
        "before",
        "Fatal Python error: Segmentation fault",
        "",
        "Stack (most recent call first):",
        '  File "/lib/ctypes/__init__.py", line 519 in string_at',
        '  File "/home/me/work.py", line 3 in task',
        "",
    ]


def test_the_headline_is_the_error_or_the_last_line():
    assert headline(CRASH) == "Fatal Python error: Segmentation fault"
    assert headline(b"loading\nno such model\n\n") == "no such model"
    assert headline(b"") == ""
