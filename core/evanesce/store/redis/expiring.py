"""Reports which keys a command leaves with a TTL, so that the eraser knows every key that expires."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from evanesce.store.redis.client import Client
from evanesce.store.redis.scripts import (
    ANNOUNCE,
    APPEND,
    CLOSE,
    CONNECT,
    INSTALL,
    JOIN,
    LEAVE,
    MUTE,
    PRESENCE,
    READ,
    RECONCILE,
    RENAME,
    RENEW,
    TOKENS,
    UNSEND,
    VOTE,
    Argument,
    Command,
)

REFRESH = 60_000
"""The TTL of a room's state is renewed at most this often, in milliseconds; see `lua/room.lua`."""

Expiring = tuple[str, int]
"""A key, and in how many milliseconds it expires at the earliest; 0 if the command does not tell."""

_KEYS = 3  # EVALSHA digest count key …


def _argument(command: Command, place: int) -> Argument:
    return command[_KEYS + int(command[2]) + place]


def _state(command: Command) -> list[Expiring]:
    return [(str(command[_KEYS]), int(_argument(command, 1)) - REFRESH)]


def _append(command: Command) -> list[Expiring]:
    # The index is enough: it names the messages. This is called for every message.
    first = _KEYS + int(command[2])
    keep, ttl, own = int(command[first + 1]), int(command[first + 4]), str(command[first + 6])
    if own:
        ttl = min([ttl, *(shorter for each in own.split() if (shorter := int(each)))])
    return [(str(command[_KEYS]), keep - REFRESH), (str(command[_KEYS + 1]), ttl)]


def _unsend(command: Command) -> list[Expiring]:
    keep, ttl = int(_argument(command, 1)), int(_argument(command, 2))
    return [
        (str(command[_KEYS]), keep - REFRESH),
        (str(command[_KEYS + 1]), ttl),
        (str(command[_KEYS + 4]), 0),
    ]


def _leave(command: Command) -> list[Expiring]:
    return [*_state(command), (str(command[_KEYS + 4]), int(_argument(command, 2)))]


def _reconcile(command: Command) -> list[Expiring]:
    return [*_state(command), (str(command[_KEYS + 3]), int(_argument(command, 2)))]


def _install(command: Command) -> list[Expiring]:
    away = [(str(command[_KEYS + 5]), int(_argument(command, 12)))] if _argument(command, 8) else []
    return [*_state(command), (str(command[_KEYS + 3]), 0), *away]


def _mute(command: Command) -> list[Expiring]:
    return [*_state(command), (str(command[_KEYS + 2]), 0)]


def _vote(command: Command) -> list[Expiring]:
    return [*_state(command), *((str(command[_KEYS + place]), 0) for place in (4, 5, 6, 7))]


def _tokens(command: Command) -> list[Expiring]:
    wanted, rate = int(_argument(command, 0)), float(_argument(command, 1))
    return [(str(command[_KEYS]), int(wanted / rate))]


def _connect(command: Command) -> list[Expiring]:
    return [(str(command[_KEYS]), int(_argument(command, 3)))]


def _announce(command: Command) -> list[Expiring]:
    ended, keep = _argument(command, 1), int(_argument(command, 2))
    return [(str(command[_KEYS]), keep)] if ended else []


_SCRIPTS: dict[Argument, Callable[[Command], list[Expiring]]] = {
    ANNOUNCE.digest: _announce,
    APPEND.digest: _append,
    UNSEND.digest: _unsend,
    TOKENS.digest: _tokens,
    CONNECT.digest: _connect,
    LEAVE.digest: _leave,
    RECONCILE.digest: _reconcile,
    INSTALL.digest: _install,
    MUTE.digest: _mute,
    VOTE.digest: _vote,
    **{script.digest: _state for script in (READ, CLOSE, RENEW, JOIN, RENAME, PRESENCE)},
}


def expiring(command: Command) -> list[Expiring]:
    """Return the keys that a command may leave with a TTL."""
    name = command[0]
    if name == "EVALSHA":
        script = _SCRIPTS.get(command[1])
        return [] if script is None else script(command)
    if name == "PEXPIRE":
        return [(str(command[1]), int(command[2]))]
    if name == "SET" and "PX" in command[3:]:
        return [(str(command[1]), int(command[command.index("PX", 3) + 1]))]
    return []


class TrackingClient:
    """A `Client` for commands that may leave keys with a TTL.

    `note` is called with those keys before the commands are sent, so that they are known even if the outcome of a
    command is not.
    """

    def __init__(self, client: Client, note: Callable[[Sequence[Expiring]], None]) -> None:
        self._client = client
        self._note = note

    @property
    def up(self) -> bool:
        """See `Client.up`."""
        return self._client.up

    async def run(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """See `Client.run`."""
        self._note_all(commands)
        return await self._client.run(*commands, urgent=urgent)

    def call(self, command: Command, done: Callable[[Any], None]) -> None:
        """See `Client.call`."""
        if keys := expiring(command):
            self._note(keys)
        self._client.call(command, done)

    def post(self, *commands: Command) -> None:
        """See `Client.post`."""
        self._note_all(commands)
        self._client.post(*commands)

    def on_connect(self, connected: Callable[[], None]) -> None:
        """See `Client.on_connect`."""
        self._client.on_connect(connected)

    def _note_all(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if keys := expiring(command):
                self._note(keys)
