"""The scripts that run inside Redis: each does what must happen at one moment, on the keys of one room."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

Argument = bytes | str | int
Command = Sequence[Argument]
"""A command of Redis, as its client packs it."""

SOURCES: dict[str, bytes] = {}
"""Every script's text by the digest that Redis knows it by."""


class Script:
    """A script, made of the named files of the folder `lua`, one behind the other."""

    def __init__(self, *names: str) -> None:
        folder = files("evanesce.store.redis") / "lua"
        source = b"\n".join((folder / f"{name}.lua").read_bytes() for name in names)
        self.digest = sha1(source, usedforsecurity=False).hexdigest()
        SOURCES[self.digest] = source

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Make the command that runs the script."""
        return "EVALSHA", self.digest, len(keys), *keys, *arguments


APPEND = Script("room", "append")
WITHDRAW = Script("room", "withdraw")
READ = Script("room", "read")
CLOSE = Script("room", "close")
ENTER = Script("room", "people", "enter")
LEAVE = Script("room", "people", "leave")
SETTLE = Script("room", "people", "settle")
RENAME = Script("room", "people", "rename")
PRESENCE = Script("room", "people", "presence")
LEASE = Script("lease")
SERVERS = Script("servers")
TOKENS = Script("tokens")
CONNECT = Script("connect")
