"""The clients of libsql-client, adapted for a server: one for each kind of address. They run in the asyncio thread.

They depend on internals of the library, which is therefore pinned to one version, its last.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
from libsql_client.client import LibsqlError
from libsql_client.hrana.client import HranaClient
from libsql_client.hrana.convert import (
    _batch_to_proto,  # pyright: ignore[reportPrivateUsage]: the library is pinned
    _error_from_proto,  # pyright: ignore[reportPrivateUsage]
    _value_from_proto,  # pyright: ignore[reportPrivateUsage]
)
from libsql_client.http import HttpClient
from libsql_client.result import ResultSet
from libsql_client.sqlite3_utils import Sqlite3Client

from evanesce_plugins.sql.driver import Row, Statement
from evanesce_plugins.sql.files import keep_private
from evanesce_plugins.turso.faults import HttpStatus
from evanesce_plugins.turso.settings import Address

logger = logging.getLogger(__name__)

CONNECTIONS = 16
"""The most connections to a server over HTTP."""

ANSWER_BYTES = 16 * 1024 * 1024
"""The largest response that is read: about a hundred times a page of rooms or of a copied table."""

ABANDON_SECONDS = 10.0
"""How long an abandoned HTTP request continues."""

LOCK_SECONDS = 0.5
"""How long one attempt waits for a lock on a file. It blocks the thread."""

CLOSE_SECONDS = 0.5
"""How long each step of closing may take: the closing handshake of a WebSocket, and the end of connections."""

T = TypeVar("T")


class Client(Protocol):
    """A client of a database."""

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """Execute `statements` in order, all or nothing, and return the rows of each.

        `faults.classify` knows all exceptions. A connection without a response for `seconds` is not used again.
        """
        ...

    async def close(self) -> None:
        """Cancel all requests, and close all connections. Ends within twice `CLOSE_SECONDS`."""
        ...


@asynccontextmanager
async def open_client(address: Address, token: str | None) -> AsyncGenerator[Client]:
    """Yield the client for an address. It connects when it is first used."""
    client: Client
    if address.way == "file":
        client = FileClient(address.url)
    else:
        client = SocketClient(address.url, token) if address.way == "ws" else PipelineClient(address.url, token)
    try:
        yield client
    finally:
        await client.close()


async def purge(client: Client) -> None:
    """Purge the files of a `FileClient`; do nothing for other clients."""
    if isinstance(client, FileClient):
        await client.purge()


async def run(client: Client, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
    """See `Client.run`."""
    return await client.run(statements, seconds)


class PipelineClient(HttpClient):
    """A client over HTTP, by `v2/pipeline`, which Turso documents and all servers support; the library's is older.

    One request executes a whole batch, and leaves no state on the server.
    """

    def __init__(self, url: str, token: str | None) -> None:
        # Not the library's session, which sends `Bearer None` without a token.
        self._session = aiohttp.ClientSession(
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=ABANDON_SECONDS),
            json_serialize=lambda body: msgspec.json.encode(body).decode(),
        )
        self._url = url.rstrip("/") + "/"
        self._requests: set[asyncio.Task[list[list[Row]]]] = set()

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`. A cancelled call continues in the background, for at most `ABANDON_SECONDS`.

        Closing its connection would not stop it in sqld, where abandoned calls blocked the other writers for seconds:
        under load, each made the next ones time out as well, without end.
        """
        return await _in_background(self._run(statements), self._requests)

    async def close(self) -> None:
        """See `Client.close`."""
        await _cancel(self._requests)
        await _close_session(self._session)

    async def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        batch = {"type": "batch", "batch": _batch_to_proto(list(statements))}
        body = await self._post("v2/pipeline", {"baton": None, "requests": [batch, {"type": "close"}]})
        return read_answer(body, len(statements))

    async def _post(self, path: str, request_body: Any) -> bytes:
        """Send a request, and return the response's body. Raises `HttpStatus`, and `LibsqlError` for a large one."""
        async with self._session.post(self._url + path, json=request_body, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise LibsqlError("a response that is too large", "HRANA_PROTO_ERROR")
        if response.status != 200:
            raise HttpStatus(response.status, body[:500].decode(errors="replace"))
        return bytes(body)


def read_answer(body: bytes, statements: int) -> list[list[Row]]:
    """Return the rows of each of so many `statements` from a server's response. Raises `LibsqlError`."""
    try:
        result = msgspec.json.decode(body)["results"][0]
        if result["type"] == "error":
            raise _error_from_proto(result["error"])
        return _batch_rows(result["response"]["result"], statements)
    except (msgspec.DecodeError, RecursionError):
        raise LibsqlError("a response that is not JSON", "HRANA_PROTO_ERROR") from None
    except (TypeError, LookupError, ValueError, AttributeError):
        raise LibsqlError("a response of another shape", "HRANA_PROTO_ERROR") from None


def _batch_rows(outcome: Any, statements: int) -> list[list[Row]]:
    """Return the rows of the statements of a batch, without those of its BEGIN, COMMIT and ROLLBACK."""
    for error in outcome["step_errors"]:
        if error is not None:
            raise _error_from_proto(error)
    results = outcome["step_results"][1:-2]
    if len(results) != statements:
        raise LookupError("a batch has another number of results than of statements")
    return [[tuple(map(_value_from_proto, row)) for row in result["rows"]] for result in results]


class SocketClient:
    """A client of Hrana over WebSocket: all calls share one connection, which is replaced after it breaks."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self._client: HranaClient | None = None
        self._requests: set[asyncio.Task[list[list[Row]]]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`. A cancelled call continues in the background: the library cannot cancel a request."""
        return await _in_background(self._run(statements, seconds), self._requests)

    async def _run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        client = self._client
        if client is None:
            client = self._client = HranaClient(self._url, self._token)
        # The library waits for a silent connection for ever. Closing it makes the waiting calls fail.
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
        task = asyncio.create_task(_close_client(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """See `Client.close`."""
        if self._client is not None:
            self._discard(self._client)
        await _cancel(self._requests)
        if self._closing:
            await asyncio.wait(self._closing)


class FileClient(Sqlite3Client):
    """Opens a file for each batch, as the library does, but with the options of SQLite that a server needs."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._anchor: sqlite3.Connection | None = None

    async def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """See `Client.run`."""
        if self._anchor is None:
            keep_private(Path(self._path))
            # While one connection stays open, closing another one does not write the whole journal into the database.
            self._anchor = self._connect()
        return _rows(await self.batch(list(statements)))

    def connect(self) -> sqlite3.Connection:
        """Open the file once more, with the same options."""
        keep_private(Path(self._path))
        return self._connect()

    async def purge(self) -> None:
        """Write the journal into the database, and truncate it. Raises `LibsqlError` while others read."""
        with closing(self._connect()) as connection:
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise LibsqlError("others are reading", "SQLITE_BUSY")

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
            # An erased account must not be readable from the file's free pages either.
            connection.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


async def _in_background(request: Coroutine[Any, Any, T], requests: set[asyncio.Task[T]]) -> T:
    """Await `request`, which continues if its caller is cancelled. `requests` holds a reference to its task."""
    task = asyncio.create_task(request)
    requests.add(task)
    task.add_done_callback(requests.discard)
    return await asyncio.shield(task)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until each has ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _close_session(session: aiohttp.ClientSession) -> None:
    """Close a session and its connections, and wait until their sockets are closed."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await session.close()
    except TimeoutError:
        logger.debug("a database did not close its connections in time")


async def _close_client(client: HranaClient) -> None:
    connecting = client._conn._connect_task  # pyright: ignore[reportPrivateUsage]
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
            # The library loses a WebSocket that was connected at this moment.
            [socket] = await asyncio.gather(connecting, return_exceptions=True)
            if isinstance(socket, aiohttp.ClientWebSocketResponse):
                await socket.close()
    except TimeoutError:
        logger.debug("a database did not close its connection in time")
    finally:
        await _close_session(client._session)  # pyright: ignore[reportPrivateUsage]


def _rows(results: Sequence[ResultSet]) -> list[list[Row]]:
    return [[row.astuple() for row in result.rows] for result in results]
