"""The address of a Redis that its sentinels name. They are asked before each connection, as the primary may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlunsplit

from redis.exceptions import ConnectionError

from evanesce.errors import ConfigurationError
from evanesce.store.redis.connection import BROKEN, Address, Connection, read_nodes, refused, split_url
from evanesce.store.redis.faults import NO_SENTINEL
from evanesce.store.redis.topology import Node

DEFAULT_PORT = 26_379

_USER, _PASSWORD = "sentinel_username", "sentinel_password"


class SentinelAddress(Address):
    """`redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DATABASE][?OPTIONS]`, `rediss` for TLS.

    User and password are for Redis, `sentinel_username` and `sentinel_password` among the options for the sentinels.
    All other options are for both. Raises `ConfigurationError` for an invalid URL.
    """

    moves = True

    def __init__(self, url: str) -> None:
        parts = split_url(url)
        who, at, hosts = parts.netloc.rpartition("@")
        self._sentinels = read_nodes(hosts, DEFAULT_PORT)
        self._service, _, database = parts.path.strip("/").partition("/")
        if not self._sentinels or not self._service:
            raise ConfigurationError(
                "redis.url",
                "this is no address of sentinels",
                "Write it as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE.",
            )
        options = dict(parse_qsl(parts.query))
        user, password = options.pop(_USER, ""), options.pop(_PASSWORD, None)
        own = "" if password is None else f"{quote(user, safe='')}:{quote(password, safe='')}@"
        scheme, query = parts.scheme.partition("+")[0], urlencode(options)
        anywhere = urlunsplit((scheme, f"{who}{at}localhost", f"/{database or 0}", query, ""))
        super().__init__(anywhere)
        self._redis = Address(anywhere)
        self._sentinel = Address(urlunsplit((scheme, f"{own}localhost", "", query, "")))

    def connection(self) -> Connection:
        """Return a connection to the primary that most sentinels name.

        They are asked one after the other until more than half of those in the URL agree, as a sentinel that is cut off
        still names the old primary. Raises `redis.ConnectionError` if none of them knows a primary.
        """
        named = Counter[Node]()
        for sentinel in self._sentinels:
            if (primary := self._primary(sentinel)) is not None:
                named[primary] += 1
                if 2 * named[primary] > len(self._sentinels):
                    break
        if not named:
            raise ConnectionError(NO_SENTINEL)
        [(primary, _)] = named.most_common(1)
        return self._redis.at(*primary).connection()

    @property
    def endpoint(self) -> None:
        """None: it is not known before the sentinels are asked."""
        return

    def at(self, host: str, port: int) -> Address:
        """Return the address of one Redis, without asking the sentinels."""
        return self._redis.at(host, port)

    def replicas(self) -> list[Node] | None:
        """Return all replicas that any of the sentinels knows, those that are down included; None if none tells."""
        told = [answer for sentinel in self._sentinels if (answer := self._ask(sentinel, "REPLICAS")) is not None]
        known: dict[Node, None] = {}
        for fields in (dict(zip(one[::2], one[1::2], strict=True)) for answer in told for one in answer):
            known[Node(bytes(fields[b"ip"]).decode(), int(fields[b"port"]))] = None
        return list(known) if told else None

    def _primary(self, sentinel: Node) -> Node | None:
        answer = self._ask(sentinel, "GET-MASTER-ADDR-BY-NAME")
        return None if answer is None else Node(bytes(answer[0]).decode(), int(answer[1]))

    def _ask(self, sentinel: Node, question: str) -> Sequence[Any] | None:
        """Return what a sentinel says of the service; None if it does not answer, or does not know."""
        connection = self._sentinel.at(*sentinel).connection()
        try:
            connection.connect()
            [answer] = connection.exchange([("SENTINEL", question, self._service)])
        except BROKEN:
            return None
        finally:
            connection.close()
        return None if refused([answer]) is not None else answer
