"""Requests to the interface for operators, from the command line: over a Unix socket, HTTP or HTTPS."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from evanesce.confidential import Confidential
from evanesce.config.model import Config, secrets_of
from evanesce.config.public import admin_bind
from evanesce.errors import ConfigurationError

TOKEN_VARIABLE = "EVANESCE_ADMIN_TOKEN"
"""The environment variable with the token, for a server elsewhere."""

ANSWER_SECONDS = 75.0
"""How long a server may take to answer: longer than it takes for any request."""

MOST_BYTES = 16 * 1024 * 1024
"""The longest answer that is read."""

PREFIX = "/admin/v1"


class Failed(Exception):
    """The server could not be asked, or refused the request. The text is for people; `answer` is its JSON."""

    def __init__(self, message: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.answer = answer or {"code": "unreachable", "message": message}


@dataclass(frozen=True, slots=True, repr=False)
class Address(Confidential):
    """Where the server is, as `http://…`, `https://…` or `unix:PATH`, and the token for it."""

    url: str
    token: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def elsewhere(url: str) -> Address:
    """Return the address of a server elsewhere. Its token comes from the environment alone: never from another's file.

    Raises `ConfigurationError`.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        problem = "is not a token" if token else "is not set"
        raise ConfigurationError(TOKEN_VARIABLE, problem, "Set it to the token of the server that --url names")
    parts = urlsplit(url)
    if url.startswith("unix:") or (parts.scheme in ("http", "https") and parts.hostname):
        return Address(url.rstrip("/"), token)
    raise ConfigurationError("--url", "is not an address", "Write http://HOST:PORT, https://HOST:PORT or unix:PATH")


def configured(config: Config) -> Address:
    """Return the address of the server of a configuration. Raises `ConfigurationError`."""
    bind, tokens = admin_bind(config), secrets_of(config.admin.token)
    if bind is None or not tokens:
        raise ConfigurationError(
            "admin.token",
            "is not set in the configuration that was read, so the interface for operators is off",
            "Name the file of the server with --config, or set it and restart the server",
        )
    token = tokens[0]
    if bind.startswith("unix:"):
        return Address(bind, token)
    host, _, port = bind.rpartition(":")
    if port == "0":
        raise ConfigurationError(
            "admin.bind", "leaves the port to the system", "Name the address with --url; the server logs it"
        )
    local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}.get(host, host)
    return Address(f"http://{local}:{port}", token)


def ask(address: Address, method: str, path: tuple[str, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request, and return the answer. `path` are its parts below the prefix. Raises `Failed`.

    The fields are sent as the query of a GET or a DELETE, and in the body of others.
    """
    target = "/".join((PREFIX, *(quote(part, safe="") for part in path)))
    headers = {"Authorization": f"Bearer {address.token}"}
    payload: bytes | None = None
    if method in ("GET", "DELETE"):
        target += f"?{urlencode(fields)}" if fields else ""
    elif fields:
        payload = msgspec.json.encode(fields)
        headers["Content-Type"] = "application/json"
    connection, base = _connection(address.url)
    try:
        connection.request(method, base + target, payload, headers)
        response = connection.getresponse()
        answer = response.read(MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise Failed(f"cannot reach the server at {address.url} ({reason}). Is it running, with admin.token?") from None
    finally:
        connection.close()
    try:
        decoded: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise Failed(f"{address.url} answered with {response.status}, but not as Evanesce does") from None
    if response.status != 200:
        raise Failed(str(decoded.get("message", f"it answered with {response.status}")), decoded)
    return decoded


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to an address, and the path that every request begins with."""
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:").removeprefix("//")), ""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS), parts.path.rstrip("/")
