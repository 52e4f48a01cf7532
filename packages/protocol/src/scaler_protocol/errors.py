"""What the protocol raises."""


class ProtocolError(ValueError):
    """Bytes from a peer that are not a valid message: malformed, truncated, or contradicting themselves."""
