"""An HTTP proxy in front of a server, with one fault."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.patience import PATIENCE

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True)
class Request:
    """A request on its way to the server."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer of the server. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Send = Callable[[Request], Answer]
Fault = Callable[[Request, Send], Answer]
"""Gets a request and what sends it on to the server, and returns what the client gets."""


@contextmanager
def faulty(port: int, fault: Fault) -> Iterator[str]:
    """Serve what the server at `port` serves, with `fault`, and yield the address."""

    def send(request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            # The server answers only requests for its own host.
            headers = {**request.headers, "Host": f"127.0.0.1:{port}"}
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            kept = {name.lower(): value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            return Answer(response.status, kept, response.read())
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            answer = fault(Request(self.command, self.path, headers, body), send)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def at(path: str, change: Callable[[Answer], Answer], *methods: str) -> Fault:
    """Return the fault that changes the answers 2xx at a path, to some methods or to all."""

    def fault(request: Request, send: Send) -> Answer:
        answer = send(request)
        here = request.target.partition("?")[0] == path and (not methods or request.method in methods)
        return change(answer) if here and answer.status < 300 else answer

    return fault


def with_status(status: int) -> Callable[[Answer], Answer]:
    """Return a change of an answer's status."""
    return lambda answer: replace(answer, status=status)


def with_header(name: str, value: str) -> Callable[[Answer], Answer]:
    """Return a change of one of an answer's headers: `name` is in lower case."""
    return lambda answer: replace(answer, headers={**answer.headers, name: value})
