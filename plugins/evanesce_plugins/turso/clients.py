"""libsql-client's clients, made fit for a server: one for each way to a database. They live on the asyncio thread.

They lean on what the library does not promise, so that it is pinned to one version, its last.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
from libsql_client.client import LibsqlError
from libsql_client.hrana.client import HranaClient
from libsql_client.hrana.convert import (
    _batch_results_from_proto,  # pyright: ignore[reportPrivateUsage]: the library is pinned
    _batch_to_proto,  # pyright: ignore[reportPrivateUsage]
    _error_from_proto,  # pyright: ignore[reportPrivateUsage]
)
from libsql_client.http import HttpClient
from libsql_client.result import ResultSet
from libsql_client.sqlite3_utils import Sqlite3Client

from evanesce_plugins.sql.driver import Row, Statement
from evanesce_plugins.turso.faults import HttpStatus
from evanesce_plugins.turso.settings import Address

logger = logging.getLogger(__name__)

CONNECTIONS = 16
"""How many connections to a server there are at most, by HTTP."""

ABANDON_SECONDS = 10.0
"""How long a request by HTTP goes on that nobody waits for any more."""

LOCK_SECONDS = 0.5
"""How long one attempt waits for a lock on a file: the thread can do nothing else meanwhile."""

CLOSE_SECONDS = 0.5
"""How long a WebSocket may take to be closed: less than whoever closes the client waits."""

T = TypeVar("T")


class Client(Protocol):
    """A way to a database."""

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """Do `statements` in order, all or nothing; give the rows of each.

        What it raises `faults.sort` knows. A connection that gave no answer for `seconds` is used no more.
        """
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


async def open_client(address: Address, token: str | None) -> Client:
    """Make the client for an address; it connects when it is used."""
    if address.way == "file":
        return FileClient(address.url)
    return SocketClient(address.url, token) if address.way == "ws" else PipelineClient(address.url, token)


class PipelineClient(HttpClient):
    """Speaks HTTP, in the form that Turso documents and all servers know, `v2/pipeline`: the library's own is older.

    One request does a whole batch and leaves nothing behind on the server.
    """

    def __init__(self, url: str, token: str | None) -> None:
        # Not the library's: it says `Bearer None` where there is no token.
        self._session = aiohttp.ClientSession(
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=ABANDON_SECONDS),
            json_serialize=lambda body: msgspec.json.encode(body).decode(),
        )
        self._url = url.rstrip("/") + "/"
        self._requests: set[asyncio.Task[list[list[Row]]]] = set()

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`. A cancelled one goes on without its caller, for a while.

        Closing its connection does not stop it in sqld, where calls that were given up kept the other writers waiting
        for seconds: under load each made the next ones time out too, without end.
        """
        return await _to_the_end(self._run(statements), self._requests)

    async def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        batch = {"type": "batch", "batch": _batch_to_proto(list(statements))}
        answer = await self._send("POST", "v2/pipeline", {"baton": None, "requests": [batch, {"type": "close"}]})
        try:
            result = answer["results"][0]
            if result["type"] == "error":
                raise _error_from_proto(result["error"])
            return _rows(_batch_results_from_proto(result["response"]["result"], len(statements)))
        except (TypeError, LookupError):
            raise LibsqlError("an answer of another shape", "HRANA_PROTO_ERROR") from None

    async def _send(self, method: str, path: str, request_body: Any) -> Any:
        async with self._session.request(
            method, self._url + path, json=request_body, allow_redirects=False
        ) as response:
            body = await response.read()
        if response.status != 200:
            raise HttpStatus(response.status, body[:500].decode(errors="replace"))
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise LibsqlError("an answer that is no JSON", "HRANA_PROTO_ERROR") from None


class SocketClient:
    """Speaks Hrana over WebSocket: all calls on one connection, and a new one after it broke."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self._client: HranaClient | None = None
        self._requests: set[asyncio.Task[list[list[Row]]]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`. A cancelled one goes on without its caller: the library cannot take a request back."""
        return await _to_the_end(self._run(statements, seconds), self._requests)

    async def _run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        client = self._client
        if client is None:
            client = self._client = HranaClient(self._url, self._token)
        # The library never gives a silent connection up. What waits on it is then told that it is closed.
        timer = asyncio.get_running_loop().call_later(seconds, self._discard, client)
        try:
            # What is sent before the server has greeted hides why it refuses, which is what a deployer has to know.
            await client._conn.wait_connected()  # pyright: ignore[reportPrivateUsage]
            return _rows(await client.batch(list(statements)))
        except Exception:  # whatever kind it is, it does not say whether the connection is broken
            if client._conn.exception is not None:  # pyright: ignore[reportPrivateUsage]
                self._discard(client)
            raise
        finally:
            timer.cancel()

    def _discard(self, client: HranaClient) -> None:
        if self._client is not client:
            return
        self._client = None
        task = asyncio.create_task(_let_go(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """See `Client.close`."""
        if self._client is not None:
            self._discard(self._client)
        if self._closing:
            await asyncio.wait(self._closing)


class FileClient(Sqlite3Client):
    """Opens a file anew for each batch, as the library does, but with what a server needs of SQLite."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._anchor: sqlite3.Connection | None = None

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`."""
        if self._anchor is None:
            # While one connection stays open, closing the others does not write the whole journal back each time.
            self._anchor = self._connect()
        return _rows(await self.batch(list(statements)))

    async def close(self) -> None:
        """See `Client.close`."""
        await super().close()
        if self._anchor is not None:
            self._anchor.close()

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        try:
            connection.execute(f"PRAGMA busy_timeout = {round(LOCK_SECONDS * 1000)}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            # An account that was erased is not to be read from the file's free space either.
            connection.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


async def _to_the_end(request: Coroutine[Any, Any, T], requests: set[asyncio.Task[T]]) -> T:
    """Await `request`, which goes on where its caller is cancelled; `requests` own it, as an event loop owns none."""
    task = asyncio.create_task(request)
    requests.add(task)
    task.add_done_callback(requests.discard)
    return await asyncio.shield(task)


async def _let_go(client: HranaClient) -> None:
    connecting = client._conn._connect_task  # pyright: ignore[reportPrivateUsage]
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
            # A WebSocket that has been connected this moment is forgotten by the library.
            [socket] = await asyncio.gather(connecting, return_exceptions=True)
            if isinstance(socket, aiohttp.ClientWebSocketResponse):
                await socket.close()
    except TimeoutError:
        logger.debug("a database did not close its connection in time")
    finally:
        await client._session.close()  # pyright: ignore[reportPrivateUsage]


def _rows(results: Sequence[ResultSet]) -> list[list[Row]]:
    return [[row.astuple() for row in result.rows] for result in results]
