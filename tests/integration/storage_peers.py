"""What tests of the object storage have in common: servers, and connectors of their own to them."""

import contextlib

import zmq

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_protocol.addresses import Address
from tests.integration.commands import Command


@contextlib.contextmanager
def connecting(address):
    """Give a connector to an object storage; it is closed in the end."""
    context = zmq.Context()
    connector = ObjectStorageConnector(context, Address.from_string(address))
    try:
        yield connector
    finally:
        connector.close()
        context.term()


@contextlib.contextmanager
def starting(anywhere="tcp://127.0.0.1:0"):
    """Give a function that starts a server; a test that fails leaves none either."""
    commands = []

    def start(address=anywhere):
        command = Command("scaler_object_storage", address)
        commands.append(command)
        return command, Address.from_string(command.wait_for_line("object storage listening on").split()[-1])

    yield start
    for command in commands:
        if command.process.poll() is None:
            command.kill()
