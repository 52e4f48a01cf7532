"""Connectors and a server that is killed and comes back, over connections that break: nothing is lost or mixed up.

Both cores are the real ones. The files are a dict that outlives the server; chunks are tiny, so that objects have many.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from scaler_object_storage.core import events as e
from scaler_object_storage.core import transfers
from scaler_object_storage.core.requests import Count, Fetch, Put, Requests
from scaler_object_storage.core.store import Greeting, Store
from scaler_object_storage.errors import ObjectNotFound, ObjectStorageError, ObjectStorageFull
from scaler_object_storage.header import Header
from scaler_object_storage.values import Parts
from scaler_protocol import codec
from scaler_protocol import storage_messages as sm

CHUNK_BYTES = 8
CAPACITY_BYTES = 600
OWNERS = [b"one", b"two"]
KEYS = [b"a", b"b", b"c"]
CONTENTS = st.binary(max_size=60)
SHORT, LONG = 20.0, 1e9


@pytest.fixture(autouse=True, scope="module")
def tiny_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sm, "CHUNK_BYTES", CHUNK_BYTES)
        patch.setattr(transfers, "WINDOW_BYTES", 3 * CHUNK_BYTES)
        yield


@dataclass
class File:
    header: Header
    content: bytes


@dataclass
class Wire:
    """One connection: what travels each way, in order, as bytes."""

    route: bytes
    to_server: deque = field(default_factory=deque)
    to_peer: deque = field(default_factory=deque)


class Server:
    """The store with its files in memory: what the driver does, without a system."""

    def __init__(self, files, versions, instance):
        self.files = files
        self.versions = versions
        self.wires = {}
        self.parts = {}
        self.store = Store(Greeting(instance, "d" * 32, b"nonce"))
        self.handle(e.Listed(list(files)), 0.0)

    def receive(self, wire, frames, now):
        self.wires[wire.route] = wire
        for message in codec.decode_storage(frames).messages:
            self.handle(e.Received(wire.route, message), now)

    def handle(self, event, now):
        for effect in self.store.handle(event, now):
            self.carry_out(effect, now)

    def send(self, route, message):
        wire = self.wires.get(route)
        if wire is not None:
            wire.to_peer.append(codec.encode_storage(sm.StoragePacket([message])))

    def carry_out(self, effect, now):  # noqa: C901, PLR0912 - a case for each effect
        match effect:
            case e.Reply(route, message):
                self.send(route, message)
            case e.Then(event):
                self.handle(event, now)
            case e.Look(key):
                file = self.files.get(key)
                self.handle(e.Gone(key) if file is None else e.Seen(file.header), now)
            case e.ListFiles():
                self.handle(e.Listed(list(self.files)), now)
            case e.RemoveFiles(keys):
                for key in keys:
                    self.files.pop(key, None)
            case e.SendChunk(route, request):
                self.send_chunk(route, request)
            case e.SendStatistics(route, statistics):
                self.send(route, statistics)
            case e.Allocate(upload_id, size):
                if used(self.files) + size + sum(map(len, self.parts.values())) > CAPACITY_BYTES:
                    self.handle(e.UploadFailed(upload_id, sm.StorageFailed(0, "full", "d", size, 0)), now)
                else:
                    self.parts[upload_id] = bytearray()
            case e.WriteChunk(upload_id, offset, payload):
                assert offset == len(self.parts[upload_id])
                self.parts[upload_id] += payload
            case e.Commit(upload_id, key, owner):
                content = bytes(self.parts.pop(upload_id))
                header = Header(key, owner, len(content), next(self.versions))
                self.files[key] = File(header, content)
                self.handle(e.Seen(header), now)
            case e.Discard(upload_id):
                self.parts.pop(upload_id, None)
            case _:
                raise AssertionError(effect)

    def send_chunk(self, route, request):
        file = self.files.get(request.key)
        if file is None or file.header.version != request.version:
            self.send(route, sm.ObjectMissing(request.request_id))
        else:
            chunk = file.content[request.offset : request.offset + request.length]
            self.send(route, sm.ObjectChunk(request.request_id, chunk))


def used(files):
    return sum(len(file.content) for file in files.values())


class Peer:
    """A connector without its socket. `is_shared`: on the server's machine, where it writes and opens files itself."""

    def __init__(self, name, is_shared):
        self.name = name
        self.is_shared = is_shared
        self.requests = Requests(name, "there", iter_ids(name))
        self.wire = None

    def flush(self):
        if self.wire is None:
            return
        while self.requests.outgoing:
            message = self.requests.outgoing.popleft()
            self.wire.to_server.append(codec.encode_storage(sm.StoragePacket([message])))


def iter_ids(name):
    return (f"{name}{number:015}".encode() for number in count()).__next__


class ObjectStorageMachine(RuleBasedStateMachine):
    fetches = Bundle("fetches")

    @initialize(shared=st.lists(st.booleans(), min_size=1, max_size=3))
    def begin(self, shared):
        self.now = 0.0
        self.files = {}
        self.versions = count(1)
        self.stored = {key: set() for key in KEYS}  # every content that was ever put under a key
        self.instances = 0
        self.routes = 0
        self.server = None
        self.started()
        self.peers = [Peer(f"{number}", is_shared) for number, is_shared in enumerate(shared)]
        self.outcomes = []
        for peer in self.peers:
            self.connect(peer)

    def started(self):
        self.instances += 1
        self.server = Server(self.files, self.versions, b"%016d" % self.instances)

    def connect(self, peer):
        self.routes += 1
        peer.wire = Wire(b"route %d" % self.routes)
        peer.requests.on_connected()
        peer.flush()

    # ---- what callers do

    @rule(data=st.data(), key=st.sampled_from(KEYS), owner=st.sampled_from(OWNERS), content=CONTENTS)
    def put(self, data, key, owner, content):
        peer = data.draw(st.sampled_from(self.peers))
        self.stored[key].add(content)
        if peer.is_shared:
            self.files[key] = File(Header(key, owner, len(content), next(self.versions)), content)
            if data.draw(st.booleans()):  # else the writer died before it could say so
                peer.requests.announce([key])
        else:
            self.ask(peer, Put(self.note("put", key), LONG, key=key, owner=owner, parts=Parts.of(content)))
        peer.flush()

    @rule(
        target=fetches,
        data=st.data(),
        key=st.sampled_from(KEYS),
        wait=st.booleans(),
        patience=st.sampled_from([SHORT, LONG]),
    )
    def fetch(self, data, key, wait, patience):
        peer = data.draw(st.sampled_from(self.peers))
        fetch = Fetch(self.note("fetch", key), patience, key=key, wait=wait)
        self.ask(peer, fetch)
        return multiple((peer, fetch))

    @rule(fetch=fetches)
    def cancel(self, fetch):
        peer, ask = fetch
        peer.requests.cancel(ask, self.now)
        peer.flush()

    @rule(data=st.data(), keys=st.sets(st.sampled_from(KEYS), min_size=1))
    def delete(self, data, keys):
        peer = data.draw(st.sampled_from(self.peers))
        peer.requests.delete(sorted(keys))
        peer.flush()

    @rule(data=st.data(), owner=st.sampled_from(OWNERS))
    def delete_owner(self, data, owner):
        peer = data.draw(st.sampled_from(self.peers))
        peer.requests.delete_owner(owner)
        peer.flush()

    # ---- what the world does

    @rule(data=st.data(), times=st.integers(1, 20))
    def deliver(self, data, times):
        for _ in range(times):
            busy = [peer for peer in self.peers if peer.wire and (peer.wire.to_server or peer.wire.to_peer)]
            if not busy:
                return
            self.deliver_one(data.draw(st.sampled_from(busy)), data.draw(st.booleans()))

    @rule(data=st.data())
    def break_connection(self, data):
        peer = data.draw(st.sampled_from(self.peers))
        peer.requests.on_disconnected()
        self.connect(peer)

    @rule()
    def kill_server(self):
        for peer in self.peers:
            peer.requests.on_disconnected()
        self.started()
        for peer in self.peers:
            self.connect(peer)

    @rule(seconds=st.sampled_from([1.0, 15.0, 70.0]))
    def pass_time(self, seconds):
        self.now += seconds
        self.server.handle(e.Tick(), self.now)
        self.server.handle(e.Listed(list(self.files)), self.now)
        for peer in self.peers:
            self.tell(peer, peer.requests.on_time(self.now))

    # ---- what must hold

    @invariant()
    def tables_are_consistent(self):
        if getattr(self, "server", None) is not None:
            self.server.store.check()

    def teardown(self):
        """The faults stop: everything asked is answered, and the server knows exactly the files there are."""
        if getattr(self, "server", None) is None:
            return
        self.settle()
        for key in KEYS:  # whoever waited for a key that is nowhere gets it now
            if key not in self.files:
                self.files[key] = File(Header(key, b"last", 1, next(self.versions)), b"!")
                self.stored[key].add(b"!")
            self.peers[0].requests.announce([key])
        self.peers[0].flush()
        self.settle()
        for peer in self.peers:
            assert peer.requests.is_idle
            assert not peer.requests._puts, peer.requests._puts
            assert not peer.requests._reads
            assert not peer.requests._fetches
            assert not peer.requests._transfers
        figures = []
        self.server.handle(e.Listed(list(self.files)), self.now)
        self.ask(self.peers[0], Count(figures.append, LONG))
        self.settle()
        (statistics,) = figures
        assert statistics.waiting == 0
        assert statistics.objects == len(self.files)
        assert statistics.size == used(self.files)

    def settle(self):
        while busy := [peer for peer in self.peers if peer.wire.to_server or peer.wire.to_peer]:
            for peer in busy:
                self.deliver_one(peer, bool(peer.wire.to_server))

    # ---- plumbing

    def ask(self, peer, ask):
        self.tell(peer, peer.requests.ask(ask, self.now))

    def note(self, kind, key):
        told = []

        def on_done(outcome):
            told.append(outcome)
            assert len(told) == 1, "told twice"
            if isinstance(outcome, memoryview):
                assert kind == "fetch"
                assert bytes(outcome) in self.stored[key], "bytes that nobody stored"
            elif isinstance(outcome, ObjectStorageError):
                assert isinstance(outcome, ObjectNotFound if kind == "fetch" else ObjectStorageFull) or (
                    kind == "fetch" and "has not answered" in str(outcome)
                )
            else:
                assert kind == "put"

        return on_done

    def deliver_one(self, peer, prefers_server):
        wire = peer.wire
        if wire.to_server and (prefers_server or not wire.to_peer):
            self.server.receive(wire, wire.to_server.popleft(), self.now)
        elif wire.to_peer:
            for message in codec.decode_storage(wire.to_peer.popleft()).messages:
                if isinstance(message, sm.StorageWelcome):
                    self.tell(peer, peer.requests.on_welcome(peer.is_shared, self.now))
                else:
                    self.tell(peer, peer.requests.on_message(message, self.now))

    def tell(self, peer, settled):
        for item in settled:
            outcome = item.outcome
            if isinstance(item.ask, Fetch) and type(outcome).__name__ == "Found":
                file = self.files.get(item.ask.key)
                if file is None:
                    self.ask(peer, item.ask)
                    continue
                outcome = memoryview(file.content)
            item.ask.on_done(outcome)
        peer.flush()


ObjectStorageMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestObjectStorage = ObjectStorageMachine.TestCase
