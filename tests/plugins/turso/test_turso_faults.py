"""What the errors of a libSQL database mean, one by one; and that none of them shows a secret."""

from __future__ import annotations

import sqlite3

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from libsql_client.client import LibsqlError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce_plugins.turso.faults import HttpStatus, Kind, classify

KEY = ConnectionKey("db.example", 443, True, True, None, None, None)


def handshake(status: int) -> aiohttp.WSServerHandshakeError:
    url = URL("wss://db.example")
    request = aiohttp.RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict()), url)
    return aiohttp.WSServerHandshakeError(request, (), status=status)


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    error.sqlite_errorname = {sqlite3.SQLITE_CANTOPEN: "SQLITE_CANTOPEN", sqlite3.SQLITE_BUSY: "SQLITE_BUSY"}[code]
    return error


CASES: list[tuple[BaseException, Kind, str | None]] = [
    # a constraint: nothing was done
    (LibsqlError("UNIQUE constraint failed: User.worldId", "SQLITE_CONSTRAINT"), Kind.REFUSED, None),
    (LibsqlError("UNIQUE constraint failed: User.worldId", "SQLITE_CONSTRAINT_UNIQUE"), Kind.REFUSED, None),
    # not done: again
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), Kind.NOT_DONE, None),
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "unknown")), Kind.NOT_DONE, "url"),
    (LibsqlError("database is locked", "SQLITE_BUSY"), Kind.NOT_DONE, None),
    (LibsqlError("database is locked", "SQLITE_BUSY_SNAPSHOT"), Kind.NOT_DONE, None),
    (LibsqlError("transaction timed out", "TRANSACTION_TIMEOUT"), Kind.NOT_DONE, None),
    (sqlite_error(sqlite3.SQLITE_BUSY), Kind.NOT_DONE, None),
    (HttpStatus(429), Kind.NOT_DONE, None),
    # unknown: again, as every batch is idempotent
    (TimeoutError(), Kind.UNKNOWN, None),
    (aiohttp.ServerTimeoutError(), Kind.UNKNOWN, None),
    (aiohttp.ServerDisconnectedError(), Kind.UNKNOWN, None),
    (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), Kind.UNKNOWN, None),
    (aiohttp.ClientPayloadError(), Kind.UNKNOWN, None),
    (ConnectionResetError(104, "reset"), Kind.UNKNOWN, None),
    (LibsqlError("WebSocket was closed", "HRANA_WEBSOCKET_ERROR"), Kind.UNKNOWN, None),
    (LibsqlError("Client was manually closed", "CLIENT_CLOSED"), Kind.UNKNOWN, None),
    (HttpStatus(500), Kind.UNKNOWN, None),
    (HttpStatus(502, "<html>"), Kind.UNKNOWN, None),
    (handshake(503), Kind.UNKNOWN, None),
    # hopeless: the deployer has to correct something
    (HttpStatus(401, '{"error":"Unauthorized: `The JWT is invalid`"}'), Kind.HOPELESS, "auth_token"),
    (HttpStatus(401, '{"error":"Unauthorized: `The JWT has expired`"}'), Kind.HOPELESS, "auth_token"),
    (HttpStatus(403, '{"error":"Authorization forbidden"}'), Kind.HOPELESS, "auth_token"),
    (handshake(401), Kind.HOPELESS, "auth_token"),
    (LibsqlError("invalid", "AUTH_JWT_INVALID"), Kind.HOPELESS, "auth_token"),
    (LibsqlError("expired", "AUTH_JWT_EXPIRED"), Kind.HOPELESS, "auth_token"),
    (LibsqlError("none", "AUTH_HEADER_NOT_FOUND"), Kind.HOPELESS, "auth_token"),
    (HttpStatus(404), Kind.HOPELESS, "url"),
    (HttpStatus(301), Kind.HOPELESS, "url"),
    (handshake(200), Kind.HOPELESS, "url"),
    (handshake(404), Kind.HOPELESS, "url"),
    (handshake(505), Kind.HOPELESS, "url"),
    (LibsqlError("no JSON", "HRANA_PROTO_ERROR"), Kind.HOPELESS, "url"),
    (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "wrong version number")), Kind.HOPELESS, "url"),
    (aiohttp.ClientConnectorCertificateError(KEY, ValueError("self-signed")), Kind.HOPELESS, "url"),
    (sqlite_error(sqlite3.SQLITE_CANTOPEN), Kind.HOPELESS, "url"),
    (LibsqlError("not a database", "SQLITE_NOTADB"), Kind.HOPELESS, "url"),
    (LibsqlError("disk I/O error", "SQLITE_IOERR_WRITE"), Kind.HOPELESS, None),
    (LibsqlError("full", "SQLITE_FULL"), Kind.HOPELESS, None),
    (LibsqlError("reads are blocked", "BLOCKED"), Kind.HOPELESS, None),
    # ours
    (LibsqlError("syntax error", "SQL_PARSE_ERROR"), Kind.WRONG_STATEMENT, None),
    (LibsqlError("no such table: Usr", "SQLITE_ERROR"), Kind.WRONG_STATEMENT, None),
    (LibsqlError("no such table: Usr", "SQL_INPUT_ERROR"), Kind.WRONG_STATEMENT, None),
    (OverflowError("Integer exceeds the range"), Kind.WRONG_STATEMENT, None),
]


@pytest.mark.parametrize(
    ("error", "kind", "about"), CASES, ids=[f"{type(case[0]).__name__} {case[0]}" for case in CASES]
)
def test_an_error_is_sorted(error: BaseException, kind: Kind, about: str | None) -> None:
    fault = classify(error)
    assert (fault.kind, fault.about) == (kind, about)
    told = fault.for_deployer("plugins.turso", "db.example")
    assert "db.example" in str(told)
    if about is None:
        assert isinstance(told, PersistenceUnavailable)
    else:
        assert isinstance(told, ConfigurationError)
        assert told.path == f"plugins.turso.{about}"
        assert told.hint


def test_the_three_ways_in_which_a_token_is_wrong_are_told_apart() -> None:
    texts = {
        str(classify(HttpStatus(401, text)).for_deployer("plugins.turso", "h"))
        for text in ("invalid", "expired", "none given")
    }
    texts.add(str(classify(HttpStatus(403)).for_deployer("plugins.turso", "h")))
    assert len(texts) == 4
    codes = {"AUTH_JWT_INVALID", "AUTH_JWT_EXPIRED", "AUTH_HEADER_NOT_FOUND"}
    assert {str(classify(LibsqlError("", code)).for_deployer("plugins.turso", "h")) for code in codes} < texts


def test_what_a_server_says_is_never_shown() -> None:
    for error in (HttpStatus(500, "s3cr3t"), HttpStatus(401, "s3cr3t"), HttpStatus(404, "s3cr3t")):
        assert "s3cr3t" not in f"{error} {error!r} {classify(error).for_deployer('plugins.turso', 'h')}"
    for code in ("SQLITE_BUSY", "SQL_PARSE_ERROR", "AUTH_JWT_INVALID", "HRANA_PROTO_ERROR"):
        assert "s3cr3t" not in str(classify(LibsqlError("s3cr3t", code)).for_deployer("plugins.turso", "h"))
