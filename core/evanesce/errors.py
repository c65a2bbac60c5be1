"""Every error of Evanesce, in one tree; each says whose fault it is and what to do.

EvanesceError
├── ConfigurationError        the deployer's: config.toml, an option, the environment
├── PluginError               a plugin's: it cannot be loaded, or breaks its contract
└── CommandError              a command's: it goes to the client as the protocol's `error`
    ├── BadRequest            a field is missing or wrong
    ├── RateLimited           somebody is too fast
    ├── AuthFailed            the credential proves nothing
    ├── Rejected              a plugin refused it
    └── Unavailable           something that the command needs is down; the same command may succeed later
        ├── StoreUnavailable          Redis
        ├── PersistenceUnavailable    the database
        └── AuthUnavailable           an identity provider
"""

from __future__ import annotations

import enum
from math import ceil


class ErrorCode(enum.StrEnum):
    """The codes of the protocol's `error`; `http_status` and `retry` are those of the protocol's table."""

    BAD_FRAME = "bad_frame"
    BAD_REQUEST = "bad_request"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_PROVIDER = "unknown_provider"
    CONTENT_EMPTY = "content_empty"
    CONTENT_TOO_LONG = "content_too_long"
    UNAUTHENTICATED = "unauthenticated"
    INVALID_TOKEN = "invalid_token"
    AUTH_FAILED = "auth_failed"
    FORBIDDEN = "forbidden"
    NOT_MEMBER = "not_member"
    REJECTED = "rejected"
    ROOM_NOT_FOUND = "room_not_found"
    MESSAGE_NOT_FOUND = "message_not_found"
    CONFLICT = "conflict"
    ROOM_FULL = "room_full"
    TOO_MANY_ROOMS = "too_many_rooms"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    STORE_UNAVAILABLE = "store_unavailable"
    PERSISTENCE_UNAVAILABLE = "persistence_unavailable"
    AUTH_UNAVAILABLE = "auth_unavailable"

    @property
    def http_status(self) -> int:
        """The HTTP status that goes with this code."""
        return _HTTP_STATUS[self]

    @property
    def retry(self) -> bool:
        """Whether the same command can succeed later unchanged."""
        return self in _RETRY


_HTTP_STATUS = {
    ErrorCode.BAD_FRAME: 400,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNKNOWN_TYPE: 400,
    ErrorCode.UNKNOWN_PROVIDER: 400,
    ErrorCode.CONTENT_EMPTY: 400,
    ErrorCode.CONTENT_TOO_LONG: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.INVALID_TOKEN: 401,
    ErrorCode.AUTH_FAILED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_MEMBER: 403,
    ErrorCode.REJECTED: 403,
    ErrorCode.ROOM_NOT_FOUND: 404,
    ErrorCode.MESSAGE_NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.ROOM_FULL: 409,
    ErrorCode.TOO_MANY_ROOMS: 409,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.STORE_UNAVAILABLE: 503,
    ErrorCode.PERSISTENCE_UNAVAILABLE: 503,
    ErrorCode.AUTH_UNAVAILABLE: 503,
}

_RETRY = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.INTERNAL,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.PERSISTENCE_UNAVAILABLE,
        ErrorCode.AUTH_UNAVAILABLE,
    }
)


class CloseCode(enum.IntEnum):
    """Why a connection ends. Codes from 4400 on are Evanesce's own, as RFC 6455 (7.4.2) leaves them to it."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_VIOLATION = 1002
    NOT_UTF8 = 1007
    TOO_LARGE = 1009
    FAULT = 1011
    RESTARTING = 1012
    BAD_CLIENT = 4400
    SIGN_IN_AGAIN = 4401
    NOT_ALLOWED = 4403
    SILENT = 4408
    TOO_SLOW = 4413
    TOO_MUCH = 4429

    @property
    def reconnect(self) -> bool:
        """Whether the client may come back as it is."""
        return self in _RECONNECT


_RECONNECT = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.RESTARTING,
        CloseCode.FAULT,
        CloseCode.SILENT,
        CloseCode.TOO_SLOW,
        CloseCode.TOO_MUCH,
    }
)


class EvanesceError(Exception):
    """The root of all errors that Evanesce raises on purpose."""


class ConfigurationError(EvanesceError):
    """The deployer's configuration cannot be used.

    `path` is the key's path, such as `messages.ttl`, or the file's name; `hint` says what to do.
    """

    def __init__(self, path: str, problem: str, hint: str) -> None:
        super().__init__(f"{path}: {problem}. {hint}")
        self.path = path
        self.problem = problem
        self.hint = hint


class PluginError(EvanesceError):
    """A plugin cannot be loaded or breaks its contract; the message names it and what to do."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(f"plugin {plugin!r}: {problem}")
        self.plugin = plugin


class CommandError(EvanesceError):
    """A command was refused. The client is told `code`, the message, `field` and `retry_after` (seconds).

    The message is for a person: it never holds content or secrets.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after


class BadRequest(CommandError):
    """A field of a command is missing or wrong; `field` is its path, such as `credential.displayName`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, message, field=field)


class RateLimited(CommandError):
    """Somebody is too fast, and may go on after `wait` seconds: told in whole milliseconds, never less."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=ceil(wait * 1000) / 1000)


class AuthFailed(CommandError):
    """The credential proves nothing; the message says why in words that a person understands."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.AUTH_FAILED, message)


class Rejected(CommandError):
    """A plugin refused the command; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.REJECTED, message)


class Unavailable(CommandError):
    """Something that the command needs is down; the same command may succeed later."""


class StoreUnavailable(Unavailable):
    """Redis does not answer, or refuses to write."""

    def __init__(self, message: str = "The message store does not answer. Try again in a moment.") -> None:
        super().__init__(ErrorCode.STORE_UNAVAILABLE, message)


class PersistenceUnavailable(Unavailable):
    """The database does not answer."""

    def __init__(self, message: str = "The database does not answer. Try again in a moment.") -> None:
        super().__init__(ErrorCode.PERSISTENCE_UNAVAILABLE, message)


class AuthUnavailable(Unavailable):
    """An identity provider does not answer."""

    def __init__(self, message: str = "The identity provider does not answer. Try again in a moment.") -> None:
        super().__init__(ErrorCode.AUTH_UNAVAILABLE, message)
