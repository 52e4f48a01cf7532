"""Peers that ask for much and read nothing, or wait for what never comes. What they have coming must not pile up."""

import pickle
import time
from contextlib import ExitStack, closing
from random import Random

import zmq

from scaler_client.serializer import DefaultSerializer, dump_function
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.values import Parts
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address
from scaler_protocol.batch import U32, Encoding, column
from scaler_protocol.identifiers import content_id, new_id
from tests.fuzz.peers import packet, register
from tests.fuzz.wire import Wire, suppressed

RESULT_BYTES = 60_000
"""As large as results get that travel in messages where there is an object storage."""


def unread_results(address: str, rng: Random) -> None:
    """A client within its credit, whose 300 MB of results nobody reads."""
    code = dump_function(bytes, DefaultSerializer())
    function_id, payload = content_id(code), pickle.dumps([RESULT_BYTES] * 100)
    counts, sizes = column(U32, [100]), column(U32, [len(payload)])
    with suppressed(), Wire(address) as wire:
        wire.greet()
        wire.message(packet(register()))
        wire.message(packet(m.DefineFunction(function_id, "bytes", code), first=1))
        for number in range(2, 52):
            batch = m.SubmitBatch(number, function_id, 100, Encoding.VALUES, counts, sizes, payload)
            wire.message(packet(batch, first=number))
        for _ in range(20):  # so that workers get to it; its silence is no reason to send it away
            time.sleep(0.1)
            wire.message(packet(m.Heartbeat()))


def unread_reports(address: str, rng: Random) -> None:
    """Many monitors that subscribe and read nothing."""
    with ExitStack() as stack, suppressed():
        for _ in range(100):
            wire = stack.enter_context(Wire(address))
            wire.greet(b"SUB")
            wire.frame(b"\x01")
        time.sleep(1.5)  # a report a second


def unread_chunks(address: str, rng: Random) -> None:
    """A peer that has a large object sent to it again and again."""
    context, owner, key = zmq.Context(), new_id(), new_id()
    with closing(ObjectStorageConnector(context, Address.from_string(address))) as connector:
        connector.put(key, owner, Parts.of(rng.randbytes(sm.CHUNK_BYTES)))
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.message(_storage(sm.AwaitObject(1, key, wait=True)))
            version = next(said.version for said in wire.storage_answer() if isinstance(said, sm.ObjectFound))
            for number in range(2, 1000):
                wire.message(_storage(sm.ReadChunk(number, key, version, 0, sm.CHUNK_BYTES)))
        connector.delete_owner(owner)
        connector.statistics()
    context.term()


def waits_without_end(address: str, rng: Random) -> None:
    """A peer that waits for very many objects which nobody will store."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for first in range(0, 120_000, 500):
            wire.message(
                _storage(
                    *[sm.AwaitObject(number, rng.randbytes(16), wait=True) for number in range(first, first + 500)]
                )
            )


def uploads_without_end(address: str, rng: Random) -> None:
    """A peer that begins very many uploads and sends nothing."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for number in range(3000):
            wire.message(_storage(sm.BeginUpload(number, rng.randbytes(16), rng.randbytes(16), b"owner", 1 << 12)))


def _storage(*messages: sm.StorageMessage) -> list[bytes]:
    return codec.encode_storage(sm.StoragePacket(list(messages)))
