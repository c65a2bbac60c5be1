"""All errors of Evanesce, in one tree. Each class names who is at fault and what to do.

EvanesceError
├── ConfigurationError        the configuration is wrong: config.toml, an option, the environment
├── PluginError               a plugin cannot be loaded, or breaks its contract
├── RegistrationTaken         a registration belongs to another account already
└── CommandError              a command was refused: the client receives the protocol's `error`
    ├── BadRequest            a field is missing or wrong
    ├── RateLimited           a rate limit was exceeded
    ├── AuthFailed            the credential proves nothing
    ├── Rejected              a plugin refused the command
    └── Unavailable           a part that the command needs is down; the same command may succeed later
        ├── StoreUnavailable          Redis
        ├── PersistenceUnavailable    the database
        └── AuthUnavailable           an identity provider
"""

from __future__ import annotations

import enum
from math import ceil


class ErrorCode(enum.StrEnum):
    """The codes of the protocol's `error`, with `http_status` and `retry` from the protocol's table."""

    BAD_FRAME = "bad_frame"
    """The frame is not text, is not one JSON object, or is nested deeper than 32 levels."""
    BAD_REQUEST = "bad_request"
    """A field is missing or wrong. `field` names it."""
    UNKNOWN_TYPE = "unknown_type"
    """The server knows no command of this type."""
    UNKNOWN_PROVIDER = "unknown_provider"
    """The server has no provider of this name."""
    CONTENT_EMPTY = "content_empty"
    """The content is empty, or white space alone."""
    CONTENT_TOO_LONG = "content_too_long"
    """The content has more bytes than `contentBytes`."""
    UNAUTHENTICATED = "unauthenticated"
    """The command needs a sign-in first."""
    INVALID_TOKEN = "invalid_token"
    """The token is malformed, has expired, was signed out, or belongs to an erased account."""
    AUTH_FAILED = "auth_failed"
    """The credential proves nothing. `message` says why."""
    FORBIDDEN = "forbidden"
    """This user, or a client at this place, may not do this."""
    NOT_MEMBER = "not_member"
    """This connection is not in the room. The room need not exist."""
    REJECTED = "rejected"
    """A plugin refused the command. `message` says why."""
    ROOM_LOCKED = "room_locked"
    """The room is locked: it admits nobody who is not a member now."""
    INVITE_REQUIRED = "invite_required"
    """The room admits only those who were invited."""
    INVITE_SPENT = "invite_spent"
    """The invite has expired, is used up or was revoked, or is none of this room's."""
    BANNED = "banned"
    """The person was banned from the room. `retryAfter` says when the ban ends."""
    MUTED = "muted"
    """The person may not write in the room. `retryAfter` says when this ends."""
    ROOM_NOT_FOUND = "room_not_found"
    """There is no such room, or it was closed."""
    MESSAGE_NOT_FOUND = "message_not_found"
    """There is no such live message."""
    CONFLICT = "conflict"
    """The message id is another user's, or that of a message that was unsent."""
    ROOM_FULL = "room_full"
    """The room has as many people as `rooms.capacity` allows."""
    TOO_MANY_ROOMS = "too_many_rooms"
    """The connection is in too many rooms, or the user has created too many open rooms."""
    RATE_LIMITED = "rate_limited"
    """A rate limit was exceeded. `retryAfter` says when the command is allowed again."""
    INTERNAL = "internal"
    """A fault of the server or of a plugin."""
    STORE_UNAVAILABLE = "store_unavailable"
    """Redis does not answer, or refuses to write."""
    PERSISTENCE_UNAVAILABLE = "persistence_unavailable"
    """The database does not answer."""
    AUTH_UNAVAILABLE = "auth_unavailable"
    """The identity provider does not answer."""

    @property
    def http_status(self) -> int:
        """The HTTP status of this code."""
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
    ErrorCode.ROOM_LOCKED: 403,
    ErrorCode.INVITE_REQUIRED: 403,
    ErrorCode.INVITE_SPENT: 403,
    ErrorCode.BANNED: 403,
    ErrorCode.MUTED: 403,
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
    """Why a connection is closed. Codes from 4400 on are for applications (RFC 6455, 7.4.2), and are Evanesce's own."""

    NORMAL = 1000
    """The client left."""
    GOING_AWAY = 1001
    """The server is shutting down (SIGTERM)."""
    PROTOCOL_VIOLATION = 1002
    """The client broke the WebSocket protocol."""
    NOT_UTF8 = 1007
    """The client sent text that is not UTF-8."""
    TOO_LARGE = 1009
    """The client sent a frame larger than `limits.frame_bytes`."""
    INTERNAL = 1011
    """The server has a fault."""
    RESTARTING = 1012
    """The server is restarting (SIGHUP)."""
    BAD_CLIENT = 4400
    """The client keeps breaking the protocol of Evanesce."""
    SIGN_IN_AGAIN = 4401
    """The connection has no valid sign-in any more. The client may reconnect after a new sign-in."""
    NOT_ALLOWED = 4403
    """This user may not connect."""
    TIMEOUT = 4408
    """The client sent no `hello` in time, or did not answer pings."""
    TOO_SLOW = 4413
    """The client is too slow: its outbox is full. It may resume with `since`."""
    RATE_LIMITED = 4429
    """The client is far above a rate limit, or has too many connections."""

    @property
    def reconnect(self) -> bool:
        """Whether the client may reconnect without a new sign-in."""
        return self in _RECONNECT


_RECONNECT = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.RESTARTING,
        CloseCode.INTERNAL,
        CloseCode.TIMEOUT,
        CloseCode.TOO_SLOW,
        CloseCode.RATE_LIMITED,
    }
)


INTERNAL_REASON = "A fault in the server ended this connection. Come back in a moment."
"""The reason that goes with `CloseCode.INTERNAL`."""


class EvanesceError(Exception):
    """The base class of all errors that Evanesce raises deliberately."""


class ConfigurationError(EvanesceError):
    """The configuration cannot be used.

    `path` is the path of the key, such as `messages.ttl`, or the name of the file. `hint` says what to do.
    """

    def __init__(self, path: str, problem: str, hint: str) -> None:
        super().__init__(f"{path}: {problem}. {hint}")
        self.path = path
        self.problem = problem
        self.hint = hint


class PluginError(EvanesceError):
    """A plugin cannot be loaded, or breaks its contract. The message names the plugin and says what to do."""

    def __init__(self, plugin: str, problem: str) -> None:
        super().__init__(f"plugin {plugin!r}: {problem}")
        self.plugin = plugin


class RegistrationTaken(EvanesceError):
    """The value that a provider wants to register with an account is registered with another account."""


class CommandError(EvanesceError):
    """A command was refused. The client receives `code`, the message, `field` and `retry_after` (seconds).

    The message is for people. It never contains content or secrets.
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
    """A field of a command is missing or wrong. `field` is its path, such as `credential.displayName`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, message, field=field)


class RateLimited(CommandError):
    """A rate limit was exceeded. The client may continue after `wait` seconds, rounded up to milliseconds."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, message, retry_after=ceil(wait * 1000) / 1000)


class AuthFailed(CommandError):
    """The credential proves nothing. The message says why, for people."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.AUTH_FAILED, message)


LONGEST_RETRY_SECONDS = 7 * 24 * 3600.0
"""The longest time after which a plugin may let a client try again, in seconds."""


class Rejected(CommandError):
    """A plugin refused the command. The message says why.

    `retry_after` is the number of seconds after which the client may try again, from 0 to `LONGEST_RETRY_SECONDS`.
    Other values are ignored, so that a plugin that computes a wrong value still refuses.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        # A comparison with NaN is false.
        valid = isinstance(retry_after, int | float) and 0 <= retry_after <= LONGEST_RETRY_SECONDS
        super().__init__(ErrorCode.REJECTED, message, retry_after=retry_after if valid else None)


class Unavailable(CommandError):
    """A part that the command needs is down. The same command may succeed later.

    `advice` tells the deployer what to do, if that is known. Clients do not receive it.
    """

    advice = ""


class StoreUnavailable(Unavailable):
    """Redis does not answer, or refuses to write."""

    def __init__(
        self, message: str = "The message store does not answer. Try again in a moment.", *, advice: str = ""
    ) -> None:
        super().__init__(ErrorCode.STORE_UNAVAILABLE, message)
        self.advice = advice


class PersistenceUnavailable(Unavailable):
    """The database does not answer."""

    def __init__(self, message: str = "The database does not answer. Try again in a moment.") -> None:
        super().__init__(ErrorCode.PERSISTENCE_UNAVAILABLE, message)


class AuthUnavailable(Unavailable):
    """An identity provider does not answer."""

    def __init__(self, message: str = "The identity provider does not answer. Try again in a moment.") -> None:
        super().__init__(ErrorCode.AUTH_UNAVAILABLE, message)
