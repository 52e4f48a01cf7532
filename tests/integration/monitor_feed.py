"""Reads the monitor's feed, as a test that waits for something to show in it."""

import select

from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_runtime.transport import SubSocket
from tests.integration.commands import wait_until


class Subscriber:
    """Reads reports from a feed."""

    def __init__(self, context, address):
        self.socket = SubSocket(context, Address.from_string(str(address)))

    def frames(self):
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)

        def look():
            found = self.socket.receive()
            if found is None:
                poll.poll(20)
            return found

        return wait_until(look)

    def report(self):
        (frame,) = self.frames()
        return codec.decode_monitor(frame)

    def report_where(self, found):
        return wait_until(lambda: (made := self.report()) and found(made) and made)
