"""Connections to Redis by redis-py. Every method of the driver that Evanesce relies on is called here."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from redis._parsers import BaseParser
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from evanesce.errors import ConfigurationError
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.topology import Node

DEFAULT_PORT = 6379

EXCHANGE_SECONDS = 4.0
"""How long all answers of one exchange may take together. Each may take the 2 s of the socket timeout."""

BROKEN = (RedisError, OSError)
"""The exceptions of a `Connection` after which it must be discarded."""

_REFUSALS = (ResponseError, AuthenticationError, AuthorizationError, BusyLoadingError)
"""Errors that are the answer to one command. redis-py treats some of them as connection errors."""


class Connection:
    """One blocking connection, for one thread. Discard it after any exception of `BROKEN`."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def connect(self) -> None:
        """Connect, and authenticate if the address has credentials. Takes up to 1 s, and 2 s for each answer."""
        self._driver.connect()

    def greet(self) -> None:
        """Send only a `PING`, and read the answer. Raises the error with which Redis ends the connection.

        That error would be lost if more commands were sent with the `PING`.
        """
        refusal = refused(self.exchange([("PING",)]))
        if refusal is not None and not isinstance(refusal, NoPermissionError):
            raise refusal

    def close(self) -> None:
        """Close it. It is safe to call this again."""
        self._driver.disconnect()

    def detach(self) -> socket.socket:
        """Return the socket, which the caller closes, and use this connection no more. All answers must be read."""
        connected: socket.socket = self._driver._sock
        self._driver._sock = None
        return connected

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together and read the answers. The answer of a refused command is the `RedisError`."""
        self.send(*commands)
        answers: list[Any] = []
        latest = time.monotonic() + EXCHANGE_SECONDS
        for _ in commands:
            if answers and time.monotonic() > latest and not self.readable(0):
                raise TimeoutError("the answers took too long together")
            answers.append(self._answer())
        return answers

    def _answer(self) -> Any:
        """Read one answer. If it arrived after the timeout it is still read, as this process may have been stopped."""
        try:
            try:
                return self.read()
            except TimeoutError:
                if not self.readable(0):
                    raise
                return self.read()
        except _REFUSALS as error:
            return error

    def send(self, *commands: Command) -> None:
        """Send commands together, without reading answers."""
        self._driver.send_packed_command(self._driver.pack_commands(commands), check_health=False)

    def readable(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for data; a part of an answer is enough. Raises if the connection was closed."""
        return bool(self._driver.can_read(timeout=timeout))

    def read(self) -> Any:
        """Read one whole answer. Raises if the rest of it does not arrive in time."""
        return self._driver.read_response(disconnect_on_error=False)


class Address:
    """The address of a Redis. Raises `ConfigurationError` for an invalid URL."""

    moves = False
    """Whether the next connection may be to another server: then it helps to reconnect if one accepts no messages."""

    def __init__(self, url: str) -> None:
        try:
            self._pool: Any = ConnectionPool.from_url(url)  # pyright: ignore[reportUnknownMemberType]: half typed
        except (ValueError, TypeError):
            # The URL may contain a password: it must not appear in the error or in its cause.
            raise ConfigurationError(
                "redis.url", "this is no address of a Redis", "Write it as redis://HOST:PORT/DATABASE."
            ) from None
        self._pool.connection_kwargs |= {
            # By default a command is sent again after a time-out, which could store a message twice.
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 2.0,
            "socket_connect_timeout": 1.0,
            "decode_responses": False,
            # RESP2 and no driver name: the handshake needs no command that a narrow access list refuses.
            "protocol": 2,
            "driver_info": None,
        }
        if not issubclass(self._pool.connection_class, UnixDomainSocketConnection):
            self._pool.connection_kwargs["socket_keepalive"] = True

    def at(self, host: str, port: int) -> Address:
        """Return the address of another node, with the same credentials and options."""
        other = copy(self)
        other._pool = copy(self._pool)
        other._pool.connection_kwargs = self._pool.connection_kwargs | {"host": host, "port": port}
        return other

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Its host and port; None for a Unix socket."""
        told = self._pool.connection_kwargs
        return None if "path" in told else (told.get("host", "localhost"), told.get("port", DEFAULT_PORT))

    @property
    def tls(self) -> bool:
        """Whether the connection uses TLS."""
        return issubclass(self._pool.connection_class, SSLConnection)

    def connection(self) -> Connection:
        """Return a connection that is not connected yet. May take a second, and raise the errors of `connect`."""
        # The pool's own `make_connection` counts all connections ever made, and makes at most a hundred.
        return Connection(self._pool.connection_class(**self._pool.connection_kwargs))


def split_url(url: str) -> SplitResult:
    """Split a URL that may name several hosts, as `urlsplit` does.

    Some versions of Python refuse a list of hosts in which an IPv6 address is not the first. So the hosts are removed
    before, and put back.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return urlsplit(url)
    end = min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    return urlsplit(f"{scheme}://localhost{rest[end:]}")._replace(netloc=rest[:end])


def cluster_address(url: str) -> tuple[Address, list[Node]]:
    """Parse the URL of a cluster, `redis://HOST:PORT,HOST:PORT`, which names some of its nodes.

    Return an address from which `at` makes that of any node, and the named nodes. Raises `ConfigurationError`.
    """
    parts = split_url(url)
    who, at, hosts = parts.netloc.rpartition("@")
    nodes = read_nodes(hosts, DEFAULT_PORT)
    if parts.scheme not in ("redis", "rediss") or not nodes:
        raise ConfigurationError(
            "redis.url",
            "this is no address of a Redis Cluster",
            "Name some of its nodes: redis://HOST:PORT,HOST:PORT, or set redis.cluster to false.",
        )
    return Address(urlunsplit(parts._replace(netloc=who + at + hosts.split(",")[0]))), nodes


def read_nodes(hosts: str, default_port: int) -> list[Node]:
    """Parse `HOST[:PORT],…`. Return [] if any of them is invalid."""
    nodes: list[Node] = []
    for text in hosts.split(","):
        try:
            parts = urlsplit(f"//{text}")
            if not parts.hostname:
                return []
            nodes.append(Node(parts.hostname, parts.port or default_port))
        except ValueError:
            return []
    return nodes


def reply_error(text: str) -> RedisError:
    """Return the exception for an error that Redis answers."""
    parser: Any = BaseParser  # without types
    error: RedisError = parser.parse_error(text)
    return error


def refused(answers: Iterable[Any]) -> RedisError | None:
    """Return the first refusal among the answers of an `exchange`."""
    return next((answer for answer in answers if isinstance(answer, RedisError)), None)
