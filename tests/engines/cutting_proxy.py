"""Stands between a program and a server on a Unix socket, and loses one answer: the request has arrived."""

import contextlib
import socket
import threading

CHUNK = 1 << 16


class CuttingProxy:
    """Use as a context manager; `lose(part)`: drop the answer to the next request with `part` in its first line."""

    def __init__(self, path, target):
        self.host = f"unix://{path}"
        self.lost = threading.Event()
        self._target = str(target)
        self._part = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._sockets = []

    def lose(self, part):
        self._part = part.encode()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *details):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._sockets:
            _shut(one)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._sockets += [client, server]
                cut = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, cut), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server, cut), daemon=True).start()

    def _requests(self, client, server, cut):
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                if self._part is not None and self._part in data.partition(b"\r\n")[0]:
                    self._part = None
                    cut.set()
                server.sendall(data)
        _shut(server)

    def _answers(self, client, server, cut):
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if cut.is_set():
                    self.lost.set()
                    break
                client.sendall(data)
        _shut(client)


def _shut(one):
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
