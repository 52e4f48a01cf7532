"""Runs the Python blocks of a page one after the other, as if typed into one interpreter: a process, one namespace.

Its argument is the descriptor of a connection: it gets (place, source) and answers (what was printed, traceback or
None), until it gets None.
"""

import contextlib
import io
import sys
import traceback
import types
from multiprocessing.connection import Connection


def main(descriptor):
    connection = Connection(descriptor)
    page = sys.modules["__main__"] = types.ModuleType("__main__")
    while (block := connection.recv()) is not None:
        connection.send(run(*block, vars(page)))


def run(place, source, namespace):
    printed, failure = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, place, "exec"), namespace)
        except BaseException:  # noqa: BLE001 - a block may raise anything, the test says what
            failure = traceback.format_exc()
    return printed.getvalue(), failure


if __name__ == "__main__":
    main(int(sys.argv[1]))
