"""Finds out why no connection to Redis can be made: from the error, or by trying other protocols."""

from __future__ import annotations

import socket
import ssl

from redis.exceptions import NoPermissionError

from evanesce.store.redis.connection import Address
from evanesce.store.redis.faults import (
    ENDED,
    HANDSHAKE,
    REFUSED_IN_TLS,
    SPEAKS_NO_TLS,
    SPEAKS_TLS,
    TIMED_OUT,
    Fault,
    classify,
    classify_text,
)

PATIENCE = 1.0
"""How long an attempt with the other protocol may take, in seconds."""

_NOT_CHOSEN = Fault(
    "The message store does not allow its user to select a database, or to name its connection.",
    "Grant it +select (or +client|setname), or remove the number of the database (or client_name) from redis.url.",
)
"""The only commands while a connection is made."""


def why(address: Address, error: Exception) -> Fault:
    """Return what the error of an attempt to connect means. Blocks, for a few seconds at most.

    A Redis waits for more data if a TLS handshake begins, and a TLS server ends the connection if Redis's protocol
    begins. Neither reports an error, so the other protocol is tried.
    """
    if isinstance(error, NoPermissionError):
        return _NOT_CHOSEN
    fault, endpoint = classify(error), address.endpoint
    if fault in (HANDSHAKE, ENDED, TIMED_OUT) and endpoint is not None:
        if address.tls:
            if _answers_plainly(endpoint):
                return SPEAKS_NO_TLS
            return REFUSED_IN_TLS if fault is ENDED else fault
        return classify_text(_greeting(endpoint)) or (SPEAKS_TLS if _shakes_hands(endpoint) else fault)
    return fault


def _greeting(endpoint: tuple[str, int]) -> str:
    """Return what the server sends before any command: Redis does so if it refuses connections."""
    try:
        with socket.create_connection(endpoint, PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            return connection.recv(256).decode("ascii", "replace")
    except OSError:
        return ""


def _answers_plainly(endpoint: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(endpoint, PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in (b"+", b"-")
    except OSError:
        return False


def _shakes_hands(endpoint: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no data is sent: this only finds out whether there is TLS
    try:
        with socket.create_connection(endpoint, PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            with context.wrap_socket(connection, server_hostname=endpoint[0]):
                return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # a server that refuses by an alert uses TLS
    except OSError:
        return False
