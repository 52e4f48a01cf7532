"""Addresses: `tcp://host:port`, `ipc://path`, and `inproc://name`, which no command accepts."""

from dataclasses import dataclass
from enum import Enum
from typing import Self

from scaler._packages import installed

with installed(__name__):
    from scaler_protocol.addresses import Address

_INPROC = "inproc://"


class ZMQType(Enum):
    """How the two ends are connected."""

    inproc = "inproc"
    ipc = "ipc"
    tcp = "tcp"


@dataclass
class ZMQConfig:
    """One endpoint; only `tcp` has a port. For `ipc` the host is a path, for `inproc` a name."""

    type: ZMQType
    host: str
    port: int | None = None

    def __post_init__(self) -> None:
        """Check it: `ValueError` names the accepted forms."""
        if (self.port is not None) != (self.type is ZMQType.tcp):
            raise ValueError(f"{self.type.value} addresses have {'a' if self.type is ZMQType.tcp else 'no'} port")
        _parse(self.to_address())

    def to_address(self) -> str:
        """Return the form that `from_string` takes."""
        if self.type is not ZMQType.tcp:
            return f"{self.type.value}://{self.host}"
        return str(Address("tcp", self.host, self.port))

    def __str__(self) -> str:
        return self.to_address()

    @classmethod
    def from_string(cls, string: str) -> Self:
        """Read an address."""
        kind, host, port = _parse(string)
        return cls(kind, host, port)


def _parse(text: str) -> tuple[ZMQType, str, int | None]:
    if text.startswith(_INPROC) and text != _INPROC:
        return ZMQType.inproc, text.removeprefix(_INPROC), None
    address = Address.from_string(text)
    return ZMQType(address.transport), address.host, address.port
