"""How much lies in the object storage, for monitors: asked for while somebody wants to know, never waited for."""

import zmq

from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.storage_messages import AskStatistics, Statistics, StoragePacket
from scaler_runtime.transport import DealerSocket

ASK_AGAIN_SECONDS = 5.0
"""A question without an answer is repeated."""


class StorageFigures:
    """The last answer; zero before the first."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: Address) -> None:
        self.objects = 0
        self.size = 0
        """Bytes of all objects."""
        self._context = context
        self._address = address
        self._socket: DealerSocket | None = None
        self._asked_at: float | None = None

    def ask(self, now: float) -> None:
        """Take in what was answered since the last call, and ask again."""
        if self._socket is None:
            self._socket = DealerSocket(self._context, self._address)
        self._socket.connection_changes()  # reconnecting is the socket's own business; this only empties the queue
        while (frames := self._socket.receive()) is not None:
            self._take(frames)
        if self._asked_at is None or now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self._socket.send(codec.encode_storage(StoragePacket([AskStatistics(0)])))

    def close(self) -> None:
        """Close the connection, until the next question."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._asked_at = None

    def _take(self, frames: list[bytes]) -> None:
        try:
            packet = codec.decode_storage(frames)
        except ProtocolError:
            return  # the next answer may be one
        for message in packet.messages:
            if isinstance(message, Statistics):
                self.objects, self.size = message.objects, message.size
                self._asked_at = None
