"""What a peer says when it is well formed."""

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.identifiers import new_id


def register(role: str = "client", **fields: object) -> m.Register:
    """Return a registration."""
    given = {"session_id": new_id(), "secret": new_id(), "name": "stranger", **fields}
    return m.Register(
        role=role,
        product=m.PRODUCT,
        protocol_version=m.PROTOCOL_VERSION,
        python_version="3",
        host_name="elsewhere",
        pid=1,
        instance_id=b"",
        received=0,
        **given,
    )


def packet(*messages: m.Message, first: int = 0) -> list[bytes]:
    """Return the frames of a packet."""
    return codec.encode(m.Packet(first, 0, list(messages)))
