"""The audit log: one line for each act of an operator, and for each request that was refused.

A line says who did what to whom, and what came of it; the log adds when. The text of an announcement and the reason of
a ban are not in it.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from evanesce.logs import EVERY_LINE, escaped

logger = logging.getLogger(__name__)

VALUE_CHARACTERS = 300
"""How much of a value is logged."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


@dataclass(frozen=True, slots=True)
class Operator:
    """Who makes a request: a user of this machine over a Unix socket, or somebody at an address."""

    name: str


def peer_of(connection: socket.socket, address: str) -> Operator:
    """Return who is at the other end of a connection. `address` is empty for a Unix socket."""
    if address:
        return Operator(f"token from {address}")
    if not hasattr(socket, "SO_PEERCRED"):  # not on macOS
        return Operator("a user of this machine")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    return Operator(f"user {user} in process {process}")


def record(who: Operator, act: str, fields: Mapping[str, object], outcome: str) -> None:
    """Log an act: its name, the fields that say to whom it is done, and what came of it."""
    named = "".join(f" {name}={escaped(str(value)[:VALUE_CHARACTERS])}" for name, value in fields.items())
    logger.info("%s: %s%s: %s", who.name, act, named, outcome, extra=EVERY_LINE)


def refuse(who: Operator, reason: str) -> None:
    """Log a request that was refused before it was looked at."""
    logger.warning("%s: refused: %s", who.name, reason)
