"""Files that are written again, by several writers while others read, crash and fork: no view ever changes.

The files are real ones. Each reader is a table of pins of its own, as a process would have; closing it is what the
kernel does when the process ends.
"""

import gc
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import FREE, SMALLEST_BYTES
from scaler_object_storage.held_files import HeldFiles
from scaler_object_storage.object_file import map_object, read_value, recycle, write_object
from scaler_object_storage.values import Parts, dump_parts, load_parts

KEYS = [b"a", b"b", b"c"]
SIZES = [SMALLEST_BYTES - 1000, SMALLEST_BYTES + 1, SMALLEST_BYTES + 5000]


class ReuseMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.path = Path(tempfile.mkdtemp())
        (self.path / FREE).mkdir()
        self.server = Folder(self.path)
        self.held = HeldFiles(self.server)
        self.now = 0.0
        self.processes = [Folder(self.path) for _ in range(3)]
        self.stored = {}
        self.views = []  # process, view, what it showed at first
        self.written = 0

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from(SIZES), process=st.integers(0, 2))
    def put(self, key, size, process):
        self.written += 1
        content = random.Random(self.written).randbytes(size)
        write_object(self.processes[process], key, b"owner", Parts.of(content[:99], content[99:]))
        self.stored[key] = content

    @rule(key=st.sampled_from(KEYS), process=st.integers(0, 2), start=st.integers(0, 1000))
    def get(self, key, process, start):
        view = map_object(self.processes[process], key)
        assert view == self.stored.get(key)
        if view is not None:
            self.views.append((process, view[start:], self.stored[key][start:]))

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from(SIZES), process=st.integers(0, 2))
    def put_value(self, key, size, process):
        self.written += 1
        content = random.Random(self.written).randbytes(size)
        parts = dump_parts([b"stream"], [memoryview(content)])
        write_object(self.processes[process], key, b"owner", parts)
        self.stored[key] = parts.cut(0, parts.size)

    @rule(key=st.sampled_from(KEYS), process=st.integers(0, 2))
    def read(self, key, process):
        """What is no value of bytes is left to be mapped; what is one is read whole, and nothing is held by that."""
        pieces = read_value(self.processes[process], key)
        if pieces is not None:
            assert pieces == load_parts(memoryview(self.stored[key]))

    @rule(data=st.data())
    def drop(self, data):
        if self.views:
            self.views.pop(data.draw(st.integers(0, len(self.views) - 1)))

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key):
        held = recycle(self.server, key)
        if held is not None:
            self.held.add(held, self.now)
        self.stored.pop(key, None)

    @rule(size=st.sampled_from(SIZES[1:]), reader=st.integers(0, 2), writer=st.integers(0, 2))
    def read_and_delete_and_put_another(self, size, reader, writer):
        self.put(KEYS[0], size, writer)
        self.get(KEYS[0], reader, 0)
        self.delete(KEYS[0])
        self.put(KEYS[1], size, writer)

    @rule(process=st.integers(0, 2))
    def disconnect(self, process):
        """The connector goes, its views stay."""
        self.processes[process] = Folder(self.path)

    @rule(process=st.integers(0, 2))
    def kill(self, process):
        """The process ends with everything that it had."""
        self.views = [item for item in self.views if item[0] != process]
        self.processes[process] = Folder(self.path)

    @rule(seconds=st.sampled_from([0.2, 2.0]))
    def pass_time(self, seconds):
        self.now += seconds
        self.held.look(self.now)

    @rule()
    def restart_server(self):
        self.server = Folder(self.path)
        self.held = HeldFiles(self.server)

    @rule()
    def give_back(self):
        self.server.free_files.give_back()

    @invariant()
    def no_view_has_changed(self):
        for _, view, content in getattr(self, "views", ()):
            assert view == content

    def teardown(self):
        if not hasattr(self, "path"):
            return
        self.views.clear()
        gc.collect()
        for process in self.processes:
            process.pins.release()
        for key in KEYS:
            recycle(self.server, key)
        kept = sum(size >= SMALLEST_BYTES for size in map(len, self.stored.values()))
        assert len(list((self.path / FREE).iterdir())) >= kept, "a pin was left behind"
        shutil.rmtree(self.path)


ReuseMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestReuse = ReuseMachine.TestCase
