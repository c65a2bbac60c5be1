"""Transactions of several requests, each on a connection or a stream of its own. They run in the asyncio thread."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol

import aiohttp
import msgspec
from libsql_client.client import LibsqlError
from libsql_client.hrana.convert import (
    _error_from_proto,  # pyright: ignore[reportPrivateUsage]: the library is pinned
    _stmt_to_proto,  # pyright: ignore[reportPrivateUsage]
    _value_from_proto,  # pyright: ignore[reportPrivateUsage]
)

from evanesce_plugins.sql.driver import TRANSACTION_SECONDS, Row, Statement
from evanesce_plugins.turso.clients import ANSWER_BYTES, FileClient
from evanesce_plugins.turso.faults import HttpStatus
from evanesce_plugins.turso.settings import Address


class Transaction(Protocol):
    """An open transaction. Closing it undoes what is not committed."""

    async def execute(self, statement: Statement) -> list[Row]:
        """Execute one statement, and return its rows. `faults.classify` knows all exceptions."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


async def begin(client: object, address: Address, token: str | None, *, writing: bool) -> Transaction:
    """Begin a transaction. `client` is that of the driver."""
    transaction: Transaction = (
        FileTransaction(client) if isinstance(client, FileClient) else PipelineTransaction(address.url, token)
    )
    try:
        await transaction.execute(Statement("BEGIN IMMEDIATE" if writing else "BEGIN"))
        await transaction.execute(Statement("SELECT count(*) FROM sqlite_master"))  # only a read fixes the state
    except BaseException:
        await transaction.close()
        raise
    return transaction


class PipelineTransaction:
    """A transaction on a server, over HTTP. A server that is reached by WebSocket has the same address for both.

    Each response has a `baton`, which the next request of the same stream returns. The server closes a stream without
    requests for some 10 s, which rolls it back.
    """

    def __init__(self, url: str, token: str | None) -> None:
        scheme, rest = url.split("://", 1)
        self._url = f"{scheme.replace('ws', 'http')}://{rest.rstrip('/')}/v2/pipeline"
        self._baton: str | None = None
        self._session = aiohttp.ClientSession(
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=TRANSACTION_SECONDS),
            json_serialize=lambda body: msgspec.json.encode(body).decode(),
        )

    async def execute(self, statement: Statement) -> list[Row]:
        """See `Transaction.execute`."""
        body = {"baton": self._baton, "requests": [{"type": "execute", "stmt": _stmt_to_proto(statement)}]}
        answer = await self._post(body)
        try:
            decoded: Any = msgspec.json.decode(answer)
            if decoded.get("base_url") is not None:
                # Following it would hand the token to an address that the deployer did not configure.
                raise LibsqlError("a response that names another address for the transaction", "HRANA_PROTO_ERROR")
            self._baton = decoded["baton"]
            result = decoded["results"][0]
            if result["type"] == "error":
                raise _error_from_proto(result["error"])
            if self._baton is None:
                raise LibsqlError("a response without the transaction's baton", "HRANA_PROTO_ERROR")
            return [tuple(map(_value_from_proto, row)) for row in result["response"]["result"]["rows"]]
        except (msgspec.DecodeError, RecursionError):
            raise LibsqlError("a response that is not JSON", "HRANA_PROTO_ERROR") from None
        except (TypeError, LookupError, ValueError, AttributeError):
            raise LibsqlError("a response of another shape", "HRANA_PROTO_ERROR") from None

    async def _post(self, request: Any) -> bytes:
        async with self._session.post(self._url, json=request, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise LibsqlError("a response that is too large", "HRANA_PROTO_ERROR")
        if response.status != 200:
            raise HttpStatus(response.status, body[:500].decode(errors="replace"))
        return bytes(body)

    async def close(self) -> None:
        """See `Transaction.close`. A stream that cannot be closed ends without its next request."""
        try:
            if self._baton is not None:
                async with self._session.post(
                    self._url,
                    json={"baton": self._baton, "requests": [{"type": "close"}]},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=1.0),
                ):
                    self._baton = None
        except (aiohttp.ClientError, TimeoutError):
            self._baton = None
        finally:
            await self._session.close()


class FileTransaction:
    """A transaction on a file. As with every call on a file, the asyncio thread waits for it."""

    def __init__(self, client: FileClient) -> None:
        self._connection: sqlite3.Connection = client.connect()

    async def execute(self, statement: Statement) -> list[Row]:
        """See `Transaction.execute`."""
        try:
            return self._connection.execute(*statement).fetchall()
        except sqlite3.Error as error:
            raise LibsqlError(str(error), getattr(error, "sqlite_errorname", "SQLITE_ERROR")) from None

    async def close(self) -> None:
        """See `Transaction.close`."""
        self._connection.close()
