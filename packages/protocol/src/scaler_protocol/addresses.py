"""Addresses as users write them: `tcp://host:port` (name, IPv4 or bracketed IPv6) and `ipc://path`. Opens no socket."""

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Self

ACCEPTED_FORMS = "tcp://host:port, tcp://[ipv6]:port or ipc://path"
_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^\[\]:/]+):(?P<port>[0-9]+)\Z")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
MAX_PORT = 65535
_MAX_IPC_PATH = 107  # bytes in sockaddr_un.sun_path (unix(7)), less the closing zero
_WILDCARDS = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - recognised here, bound only where the user asks


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint. `host` holds an IPv6 address without brackets; for `ipc` it holds the path, and `port` is None."""

    transport: str
    host: str
    port: int | None = None

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Parse one of the accepted forms; `ValueError` names them for anything else."""
        if text.startswith("ipc://"):
            path = text.removeprefix("ipc://")
            if not path or len(path.encode()) > _MAX_IPC_PATH:
                raise _not_an_address(text, f"an ipc path has 1 to {_MAX_IPC_PATH} bytes")
            return cls("ipc", path)
        match = _TCP.match(text)
        if match is None:
            raise _not_an_address(text, "a scheme, a host and a port are needed")
        host, port = match["host"], int(match["port"])
        if port > MAX_PORT:
            raise _not_an_address(text, f"a port is a number from 0 to {MAX_PORT}")
        if host.startswith("["):
            try:
                host = str(ipaddress.IPv6Address(host[1:-1]))
            except ValueError as error:
                raise _not_an_address(text, str(error)) from None
        elif not _HOST_NAME.match(host):
            raise _not_an_address(text, "the host name is not valid")
        return cls("tcp", host, port)

    def __str__(self) -> str:
        """Return the form that `from_string` takes."""
        if self.transport == "ipc":
            return f"ipc://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.transport == "ipc" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every interface of the machine."""
        return self.transport == "tcp" and self.host in _WILDCARDS

    def connectable(self) -> Self:
        """Return it, or raise `ValueError` where it can only be bound (port 0)."""
        if self.port == 0:
            raise _not_an_address(str(self), "port 0 can be bound but not connected to")
        return self

    def seen_from(self, reached: "Address") -> "Address":
        """Return where a peer finds what listens here, if it has reached another server of this machine at `reached`.

        It stays what it is unless it stands for every interface: then the peer goes to the host that worked before.
        """
        if not self.is_wildcard:
            return self
        if reached.transport == "tcp" and not reached.is_wildcard:
            return replace(self, host=reached.host)
        return replace(self, host="::1" if self.host == "::" else "127.0.0.1")

    def with_port(self, port: int) -> Self:
        """Return the same host with another port."""
        return replace(self, port=port)


def _not_an_address(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} is not an address: {why}; accepted are {ACCEPTED_FORMS}")
