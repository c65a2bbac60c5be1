"""A reverse proxy that serves everything below a path, between a browser or a terminal client and a server."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

BYTES = 65_536
PATIENCE = 60.0


class PathProxy:
    """A proxy that forwards requests below `path` to `port`, and answers all others with 404. `with` runs it.

    With `strips`, it removes the path. It adds `X-Forwarded-For`, as proxies do. `refused` are the targets of requests
    outside the path.
    """

    def __init__(self, path: str, *, strips: bool) -> None:
        self.port = 0
        self.refused: list[str] = []
        self._path = path
        self._strips = strips
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{path}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> PathProxy:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._listener.close()
        self._acceptor.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(BYTES)
                if not data:
                    return
                head += data
            method, target, rest = head.split(b" ", 2)
            path = target.decode()
            below = path.removeprefix(self._path)
            if below == path or below[:1] not in ("", "/", "?"):
                self.refused.append(path)
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if self._strips:
                target = (below if below.startswith("/") else f"/{below}").encode()
            line, _, headers = rest.partition(b"\r\n")
            forwarded = b"X-Forwarded-For: 127.0.0.1\r\n"
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                server.sendall(b" ".join([method, target, line]) + b"\r\n" + forwarded + headers)
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(BYTES):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
