"""The Lua scripts that run inside Redis: each makes one atomic change, mostly to the keys of one room."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from random import Random

from evanesce.store.cursor import CURSOR_SECONDS
from evanesce.store.rules import COME_BACK_SECONDS

KEEP = (CURSOR_SECONDS + 3600) * 1000
"""How long a room's state is kept after its last use, in milliseconds: longer than any cursor is valid."""

COME_BACK = COME_BACK_SECONDS * 1000
"""How long after the loss of a connection its user may come back to a locked room, in milliseconds."""

GRACE = 300_000
"""How much longer an index is kept than its last message if no server erases it, in milliseconds.

It tells the server that takes over from a dead one which messages to erase.
"""

Argument = bytes | str | int
Command = Sequence[Argument]
"""The arguments of a command of Redis."""

SOURCES: dict[str, bytes] = {}
"""The source of each script by the digest that Redis uses for it."""


_random = Random()  # an epoch is no secret, and every call needs one: the system's source would be slow


def new_epoch() -> str:
    """Return a random name for the state of a room that has none yet."""
    return f"{_random.getrandbits(64):016x}"


class Script:
    """A script: the named files of the directory `lua`, concatenated."""

    def __init__(self, *names: str) -> None:
        folder = files("evanesce.store.redis") / "lua"
        source = b"\n".join((folder / f"{name}.lua").read_bytes() for name in names)
        self.digest = sha1(source, usedforsecurity=False).hexdigest()
        SOURCES[self.digest] = source

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs the script."""
        return "EVALSHA", self.digest, len(keys), *keys, *arguments


APPEND = Script("room", "lifetimes", "append")
UNSEND = Script("room", "lifetimes", "unsend")
READ = Script("room", "lifetimes", "read")
CLOSE = Script("room", "close")
RENEW = Script("room", "renew")
JOIN = Script("room", "members", "ends", "mutes", "join")
LEAVE = Script("room", "members", "ends", "away", "leave")
RECONCILE = Script("room", "members", "ends", "away", "reconcile")
RENAME = Script("room", "members", "rename")
PRESENCE = Script("room", "members", "presence")
INSTALL = Script("room", "members", "ends", "away", "install")
VOTE = Script("room", "members", "ends", "away", "vote")
MUTE = Script("room", "ends", "mutes", "mute")
DROP_INDEX = Script("drop_index")
LEASE = Script("lease")
SERVERS = Script("servers")
TOKENS = Script("tokens")
CONNECT = Script("connect")
ANNOUNCE = Script("announce")
WIPE = Script("wipe")
