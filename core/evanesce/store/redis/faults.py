"""The meaning of errors of Redis, for users and for the deployer, who is also told what to do.

The texts of errors are never passed on, as they may quote arguments. Some faults can only be told apart by their texts:
these are parsed here, and nowhere else.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from evanesce.errors import StoreUnavailable


class Fault(NamedTuple):
    """The meaning of an error, and what a deployer should do about it (empty if not known)."""

    meaning: str
    advice: str = ""

    def error(self) -> StoreUnavailable:
        """Return the exception for the caller."""
        return StoreUnavailable(self.meaning, advice=self.advice)


UNKNOWN = Fault(StoreUnavailable().message)
NO_SENTINEL = "no sentinel knows the primary"
"""The text of the error if no sentinel can name the primary."""

SPEAKS_TLS = Fault(
    "The message store uses TLS on this port, and the server does not.",
    "Begin redis.url with rediss://, or name the port that is not for TLS.",
)
SPEAKS_NO_TLS = Fault(
    "The message store does not use TLS on this port.",
    "Begin redis.url with redis://, or name the port that is for TLS.",
)
REFUSED_IN_TLS = Fault(
    "The message store refuses the TLS handshake of the server.",
    "If it asks for a certificate, add ?ssl_certfile=FILE&ssl_keyfile=FILE to redis.url.",
)
HANDSHAKE = Fault(
    "The message store did not answer the TLS handshake in time.",
    "Does it use TLS on this port? If not, begin redis.url with redis://.",
)
ENDED = Fault(
    "The message store ended the connection.",
    "If this happens each time: does it use TLS on this port? If so, begin redis.url with rediss://.",
)
TIMED_OUT = Fault(
    "The message store did not answer in time: the request may have been carried out, or not.",
    "Is it overloaded or stopped? See its log, and check whether the network loses packets.",
)
_NOT_TRUSTED = Fault(
    "The message store's certificate is not trusted.",
    "If its authority is not publicly trusted, add ?ssl_ca_certs=FILE, with the authority's certificate, to redis.url.",
)
_CERTIFICATES = {
    9: Fault(
        "The message store's certificate is not valid yet.", "Correct the clock of this machine, or the certificate."
    ),
    10: Fault("The message store's certificate has expired.", "Renew it, or correct the clock of this machine."),
    **dict.fromkeys(
        (62, 63, 64),
        Fault(
            "The message store's certificate is for another host.",
            "Write the host in redis.url as in the certificate, or use a certificate for this name.",
        ),
    ),
}
"""By the error numbers of OpenSSL: X509_V_ERR_…"""

_NOT_ALLOWED = Fault(
    "The message store does not grant the server the rights that it needs.",
    "Grant its user all rights listed in docs/how-to/use-an-outside-redis.md; evanesce check names the missing ones.",
)

_RUNS = "Is it running, and are the host and the port in redis.url right?"
_REACH = "Is the address in redis.url right, and do all firewalls in between let this machine through?"
_CANNOT_BE_REACHED = Fault("The message store cannot be reached: there is no route to its host.", _REACH)

_TEXTS: tuple[tuple[str, Fault], ...] = (
    (
        "Authentication required",
        Fault("The message store requires a password.", "Put it into redis.url: redis://USER:PASSWORD@HOST:PORT."),
    ),
    (
        "AUTH <password> called without any password",
        Fault(
            "The message store refuses the server's password: its default user has none.",
            "Remove the password from redis.url, or set one in Redis.",
        ),
    ),
    ("DB index is out of range", Fault("The message store has no database of this number.", "Write /0 in redis.url.")),
    (
        "SELECT is not allowed in cluster mode",
        Fault("The message store is a cluster, which has only one database.", "Remove the number from redis.url."),
    ),
    (
        "max number of clients",  # a cluster has more words after this
        Fault("The message store accepts no more connections.", "Raise maxclients in Redis, or end other clients."),
    ),
    (
        "cluster support disabled",
        Fault("The message store is not a cluster.", "Set redis.cluster to false, or name a cluster's nodes."),
    ),
    (
        "protected mode",
        Fault(
            "The message store is in protected mode: it accepts connections from its own machine only.",
            "Set a password in Redis, or bind it to an address that is not public.",
        ),
    ),
    (
        "unknown command",
        Fault(
            "The message store does not know a command that the server needs.",
            "Redis has to be 7.0 or newer, with no command renamed; any version of Valkey works.",
        ),
    ),
    (
        NO_SENTINEL,
        Fault(
            "No sentinel of the message store can be reached and knows its primary.",
            "Do they run, and are their addresses, their password and the service's name in redis.url right?",
        ),
    ),
    ("ACL failure in script", _NOT_ALLOWED),
    ("Connection closed by server", ENDED),
)

_KINDS: tuple[tuple[type[Exception], Fault], ...] = (
    (
        AuthenticationError,
        Fault(
            "The message store refuses the server's password.",
            "Correct the user and the password in redis.url. Redis does not tell which is wrong; the user may be off.",
        ),
    ),
    (AuthorizationError, Fault("The message store refuses the server's connection.")),
    (NoPermissionError, _NOT_ALLOWED),
    (BusyLoadingError, Fault("The message store is starting. Try again in a moment.", "Wait until it has loaded.")),
    (
        ReadOnlyError,
        Fault("The message store accepts no messages now: it is a replica.", "Name its primary in redis.url."),
    ),
    (
        OutOfMemoryError,
        Fault("The message store is full. Try again in a moment.", "Give it more memory (maxmemory in Redis)."),
    ),
    (
        MovedError,
        Fault("The message store is a cluster.", "Set redis.cluster to true, and name its nodes in redis.url."),
    ),
    (
        MasterDownError,
        Fault("The message store accepts no messages now: it is a replica without its primary.", "Name another host."),
    ),
    (ClusterDownError, Fault("The message store is a cluster that is down.", "See CLUSTER INFO on its nodes.")),
    (
        InvalidResponse,
        Fault("The server that answers is not a Redis.", "Correct the host and the port in redis.url."),
    ),
    (TimeoutError, TIMED_OUT),
)

_BELOW: tuple[tuple[type[OSError], Fault], ...] = (
    (
        socket.gaierror,
        Fault("The message store cannot be found: the name of its host is unknown.", "Correct the host in redis.url."),
    ),
    (ConnectionRefusedError, Fault("The message store refuses connections: nothing listens there.", _RUNS)),
    (FileNotFoundError, Fault("The message store's socket does not exist.", "Is it running, and is the path right?")),
    (
        PermissionError,
        Fault("The message store's socket may not be used.", "Let the user that runs the server write to it."),
    ),
    (ConnectionResetError, ENDED),
)
"""Errors of the system, which the driver wraps."""


def classify(error: Exception) -> Fault:
    """Return the meaning of an error of the driver."""
    below = error if isinstance(error, OSError) else error.__context__
    if isinstance(below, OSError) and (found := _of_the_system(error, below)) is not None:
        return found
    if isinstance(error, ConnectionError | ResponseError) and (told := classify_text(str(error))) is not None:
        return told
    return next((fault for kind, fault in _KINDS if isinstance(error, kind)), UNKNOWN)


def classify_text(text: str) -> Fault | None:
    """Return the meaning of an error text of Redis; None if the text alone does not tell."""
    return next((fault for words, fault in _TEXTS if words in text), None)


def _of_the_system(error: Exception, below: OSError) -> Fault | None:
    match below:
        case ssl.SSLCertVerificationError():
            return _CERTIFICATES.get(below.verify_code, _NOT_TRUSTED)
        case ssl.SSLError():
            return _of_tls(below)
        case _ if below.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL):
            return _CANNOT_BE_REACHED
        case _ if isinstance(error, TimeoutError):
            if "handshake" in str(below):
                return HANDSHAKE
            return Fault("The message store's host does not answer.", _REACH) if "connecting" in str(error) else None
        case _:
            return next((fault for kind, fault in _BELOW if isinstance(below, kind)), None)


def _of_tls(error: ssl.SSLError) -> Fault:
    reason = error.reason or ""
    if "ALERT" in reason:  # Redis uses TLS, and refuses this handshake
        return REFUSED_IN_TLS
    return SPEAKS_NO_TLS


def unavailable(error: Exception) -> StoreUnavailable:
    """Return the exception for the caller."""
    return classify(error).error()


def code(error: Exception) -> str:
    """Return the name of an error for the log."""
    return type(error).__name__
