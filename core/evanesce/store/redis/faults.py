"""What Redis's errors mean to a caller. Their texts are never passed on: they may quote arguments."""

from __future__ import annotations

import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,
)

from evanesce.errors import StoreUnavailable

_MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "The message store does not take the server's password."),
    (AuthorizationError, "The message store does not let the server in."),
    (NoPermissionError, "The message store does not allow the server what it needs."),
    (BusyLoadingError, "The message store is starting. Try again in a moment."),
    (ReadOnlyError, "The message store takes no messages now: it is a replica."),
    (OutOfMemoryError, "The message store is full. Try again in a moment."),
    (MovedError, "The message store is a cluster: set redis.cluster to true."),
    (MasterDownError, "The message store takes no messages now: it is a replica without its master."),
    (ClusterDownError, "The message store is a cluster that is down."),
    (TimeoutError, "The message store did not answer in time: it may have done what was asked, or not."),
)


def unavailable(error: Exception) -> StoreUnavailable:
    """Give the error that a caller is told."""
    if isinstance(error.__context__, ssl.SSLError):
        return StoreUnavailable("The message store's certificate is not trusted, or it does not speak TLS.")
    for kind, meaning in _MEANINGS:
        if isinstance(error, kind):
            return StoreUnavailable(meaning)
    return StoreUnavailable()


def code(error: Exception) -> str:
    """Name an error for the log."""
    return type(error).__name__
