"""The address of an object storage."""

from dataclasses import dataclass
from typing import Self

from scaler._packages import installed

with installed(__name__):
    from scaler_protocol.addresses import Address


@dataclass
class ObjectStorageAddressConfig:
    """Where an object storage listens."""

    host: str
    port: int
    identity: str = "ObjectStorageServer"

    def __post_init__(self) -> None:
        """Check it: `ValueError` names the accepted forms."""
        Address.from_string(self.to_string())

    def to_string(self) -> str:
        """Return the form that `from_string` takes."""
        return str(Address("tcp", self.host, self.port))

    def __str__(self) -> str:
        return self.to_string()

    @classmethod
    def from_string(cls, string: str) -> Self:
        """Read `tcp://host:port`."""
        address = Address.from_string(string)
        if address.port is None:
            raise ValueError(f"{string!r} is not an address of an object storage; accepted is tcp://host:port")
        return cls(address.host, address.port)
