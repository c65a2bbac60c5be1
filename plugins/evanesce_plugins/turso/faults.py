"""The meaning of the errors of a libSQL database: whether a batch may be retried, and what a deployer should do."""

from __future__ import annotations

import asyncio
import enum
import sqlite3
from concurrent.futures import CancelledError
from dataclasses import dataclass

import aiohttp
from libsql_client.client import LibsqlError

from evanesce.errors import ConfigurationError, EvanesceError, PersistenceUnavailable


class HttpStatus(Exception):
    """The server answered with an HTTP status other than 200; `text` is the body, which is never shown."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.text = text


class Kind(enum.Enum):
    """The state of a batch that failed."""

    REFUSED = "a constraint refused it: nothing was done"
    NOT_DONE = "nothing was done: it may be retried"
    UNKNOWN = "it may have been done, or be done later: it may be retried if it is idempotent"
    HOPELESS = "nothing was done, and a retry would not help"
    WRONG_STATEMENT = "the statement itself is wrong"


@dataclass(frozen=True, slots=True)
class Fault:
    """A classified error. `about` is the setting that a deployer has to correct, if there is one."""

    kind: Kind
    problem: str
    about: str | None = None
    hint: str = ""

    def for_deployer(self, table: str, name: str) -> EvanesceError:
        """Return the error for a deployer. `name` is that of the database, `table` that of the plugin's settings."""
        if self.about is None:
            return PersistenceUnavailable(f"The database at {name} {self.problem}. {self.hint}".strip())
        return ConfigurationError(f"{table}.{self.about}", f"the database at {name} {self.problem}", self.hint)


TIMED_OUT = Fault(Kind.UNKNOWN, "did not answer in time")
READS_ALONE = Fault(
    Kind.HOPELESS, "takes no writes with this token", "auth_token", "Give a token that may read and write"
)

_DROPPED = Fault(Kind.UNKNOWN, "ended the connection")
_AWAY = Fault(Kind.NOT_DONE, "cannot be reached", hint="Does it run, and are the host and the port in its url right?")
_BUSY = Fault(Kind.NOT_DONE, "is busy")
_NO_HOST = Fault(Kind.NOT_DONE, "cannot be found: the name of its host is unknown", "url", "Correct the address")
_NO_TLS = Fault(Kind.HOPELESS, "speaks no TLS", "url", "Begin the address with http:// or ws://, or name another port")
_NOT_TRUSTED = Fault(
    Kind.HOPELESS, "has a certificate that this machine does not trust", "url", "Correct the name, or trust its issuer"
)
_WRONG_TOKEN = Fault(
    Kind.HOPELESS, "does not know this token", "auth_token", "Give the token that was made for this database"
)
_NO_TOKEN = Fault(Kind.HOPELESS, "asks for a token", "auth_token", "Give the token that was made for this database")
_OLD_TOKEN = Fault(Kind.HOPELESS, "says that this token has expired", "auth_token", "Give a new one")

# https://www.sqlite.org/rescode.html, as in the driver of SQLite: caused by the machine, and not by the statement.
_DISK = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CORRUPT", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_FILE = ("SQLITE_CANTOPEN", "SQLITE_NOTADB")
_LOCKS = ("SQLITE_BUSY", "SQLITE_LOCKED", "TRANSACTION_TIMEOUT", "TRANSACTION_BUSY")
_LOST = ("HRANA_WEBSOCKET_ERROR", "CLIENT_CLOSED", "STREAM_CLOSED", "STREAM_EXPIRED")
_TOKEN = {"AUTH_JWT_EXPIRED": _OLD_TOKEN, "AUTH_HEADER_NOT_FOUND": _NO_TOKEN}


def classify(error: BaseException) -> Fault:
    """Return the meaning of an exception that a client raised."""
    match error:
        case LibsqlError():
            return _coded(error.code, error.explanation)
        case sqlite3.Error():  # libsql-client does not translate exceptions that it gets when it opens a file
            return _coded(getattr(error, "sqlite_errorname", "SQLITE_ERROR"), str(error))
        case HttpStatus():
            return _status(error.status, error.text)
        case aiohttp.WSServerHandshakeError():
            return _status(error.status, "")
        case aiohttp.ClientConnectorDNSError():
            return _NO_HOST
        case aiohttp.ClientConnectorCertificateError():
            return _NOT_TRUSTED
        case aiohttp.ClientSSLError():
            return _NO_TLS
        case aiohttp.ClientConnectorError():
            return _AWAY
        case TimeoutError():
            return TIMED_OUT
        case aiohttp.ClientError() | OSError() | asyncio.CancelledError() | CancelledError():
            return _DROPPED
        case _:
            return Fault(Kind.WRONG_STATEMENT, "caused an unexpected exception")


def _coded(code: str, text: str) -> Fault:
    """Classify by a code of SQLite or of Hrana, the protocol of libSQL."""
    if code.startswith("SQLITE_CONSTRAINT"):
        return Fault(Kind.REFUSED, text)
    if code.startswith(_LOCKS):
        return _BUSY
    if code.startswith(_LOST):
        return _DROPPED
    if code.startswith("AUTH_"):
        return _TOKEN.get(code, _WRONG_TOKEN)
    if code.startswith(_FILE):
        hint = "Name a file in a folder that exists and that this user may write to"
        return Fault(Kind.HOPELESS, f"cannot be used as a database ({code})", "url", hint)
    if code.startswith(_DISK) or code == "BLOCKED":
        return Fault(Kind.HOPELESS, f"refuses to work ({code})")
    if code == "HRANA_PROTO_ERROR":
        return _stranger("what it says is not libSQL's protocol")
    return Fault(Kind.WRONG_STATEMENT, f"refused a statement ({code})")


def _status(status: int, text: str) -> Fault:
    if status == 401:
        if "expired" in text:
            return _OLD_TOKEN
        return _NO_TOKEN if "none given" in text else _WRONG_TOKEN
    if status == 403:
        return READS_ALONE
    if status == 429:
        return _BUSY
    if status == 505:
        return Fault(Kind.HOPELESS, "speaks no WebSocket", "url", "Begin the address with libsql:// or https://")
    if status >= 500:
        return Fault(Kind.UNKNOWN, f"answered with HTTP status {status}")
    return _stranger(f"HTTP status {status}")


def _stranger(why: str) -> Fault:
    return Fault(Kind.HOPELESS, f"is no libSQL server ({why})", "url", "Correct the address")
