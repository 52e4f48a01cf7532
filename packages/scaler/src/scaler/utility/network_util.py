"""Free ports."""

import socket


def get_available_tcp_port(hostname: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at the moment; port 0 in an address does the same without the moment."""
    family, _, _, _, address = socket.getaddrinfo(hostname, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        return int(listener.getsockname()[1])
