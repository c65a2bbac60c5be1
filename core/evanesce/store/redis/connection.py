"""Connections to Redis as redis-py makes them: every method of the driver that Evanesce leans on is called here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from evanesce.errors import ConfigurationError
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.topology import Node

DEFAULT_PORT = 6379

BROKEN = (RedisError, OSError)
"""What the methods of a `Connection` raise when it is of no more use."""

_REFUSALS = (ResponseError, AuthenticationError, AuthorizationError, BusyLoadingError)
"""What Redis answers to one command; redis-py counts some of it among the faults of a connection."""


class Connection:
    """One connection, blocking, for one thread. Discard it after anything of `BROKEN`."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def connect(self) -> None:
        """Connect, and sign in where the address says so. Takes 1 s at most, and 2 s for each answer."""
        self._driver.connect()

    def close(self) -> None:
        """Close it. May be called again."""
        self._driver.disconnect()

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go and read the answers; a refused command's answer is the `RedisError`."""
        self.send(*commands)
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        try:
            return self._driver.read_response(disconnect_on_error=False)
        except _REFUSALS as error:
            return error

    def send(self, *commands: Command) -> None:
        """Send commands in one go, and read no answer."""
        self._driver.send_packed_command(self._driver.pack_commands(commands), check_health=False)

    def readable(self, timeout: float) -> bool:
        """Wait for something to read, `timeout` seconds at most; a part of an answer counts. Raises at the end."""
        return bool(self._driver.can_read(timeout=timeout))

    def read(self) -> Any:
        """Read one answer, whole: where the rest does not come in time this raises, and nothing is lost unseen."""
        return self._driver.read_response(disconnect_on_error=False)


class Address:
    """Where Redis is. Raises `ConfigurationError` for a URL that cannot be read."""

    moves = False
    """Whether the next connection may be to another server, so that one which takes no messages is worth leaving."""

    def __init__(self, url: str) -> None:
        try:
            self._pool: Any = ConnectionPool.from_url(url)  # pyright: ignore[reportUnknownMemberType]: half typed
        except (ValueError, TypeError):
            # The URL may hold a password: it stays out of the error, and of what the error came from.
            raise ConfigurationError(
                "redis.url", "this is no address of a Redis", "Write it as redis://HOST:PORT/DATABASE."
            ) from None
        self._pool.connection_kwargs |= {
            # By default a command is sent again after a time-out: what was stored would be stored twice.
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 2.0,
            "socket_connect_timeout": 1.0,
            "decode_responses": False,
            # RESP2 and no driver's name: a handshake asks for nothing that a narrow access list refuses.
            "protocol": 2,
            "driver_info": None,
        }
        if not issubclass(self._pool.connection_class, UnixDomainSocketConnection):
            self._pool.connection_kwargs["socket_keepalive"] = True

    def at(self, host: str, port: int) -> Address:
        """Give the address of another node, to which one comes in the same way."""
        other = copy(self)
        other._pool = copy(self._pool)
        other._pool.connection_kwargs = self._pool.connection_kwargs | {"host": host, "port": port}
        return other

    def connection(self) -> Connection:
        """Make a connection that is not connected yet. May take a second, and raise what `connect` does."""
        # Not by the pool's own `make_connection`, which counts those that it made, and makes no more than a hundred.
        return Connection(self._pool.connection_class(**self._pool.connection_kwargs))


def cluster_address(url: str) -> tuple[Address, list[Node]]:
    """Read a cluster's URL, which names some of its nodes, `redis://HOST:PORT,HOST:PORT`: how to come to any, and them.

    Raises `ConfigurationError`.
    """
    parts = urlsplit(url)
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
    """Read `HOST[:PORT],…`; nothing where any of them cannot be read."""
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


def refused(answers: Iterable[Any]) -> RedisError | None:
    """Give the first refusal among the answers of an `exchange`."""
    return next((answer for answer in answers if isinstance(answer, RedisError)), None)
