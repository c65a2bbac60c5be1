"""What a deployer may set in `[plugins.turso]`, and what its address means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError

Url = Annotated[
    str,
    Meta(
        pattern=r"^((libsql|https?|wss?)://[^/?#@\s]+(/[^?#\s]*)?"
        r"|file:(//(localhost)?(?=/)|(?!//))(?!/?:memory:)/?[^/?#\x00][^?#\x00]*)\Z",
        description="an address that begins with libsql://, https://, http://, wss://, ws:// or file: and has no query",
    ),
]

Way = Literal["http", "ws", "file"]
"""How a database is spoken to."""


class TursoSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.turso]`: the database at `url`, `auth_token` where it asks for one, `timeout` for a call in seconds."""

    url: Url
    auth_token: Annotated[str, Meta(pattern=r"^[!-~]+\Z", description="a token, without spaces")] | None = None
    timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # the token is secret


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is: `url` for the client of its `way` (for `file` a path), `name` for people."""

    way: Way
    url: str
    name: str

    @classmethod
    def of(cls, url: str, folder: Path, setting: str) -> Address:
        """Read the setting; a file's path is relative to `folder`. Raises `ConfigurationError` about `setting`."""
        try:
            parts = urlsplit(url)
            if parts.scheme != "file" and (not parts.hostname or parts.port == 0):
                raise ValueError
        except ValueError:
            hint = "Write it as libsql://HOST or http://HOST:PORT"
            raise ConfigurationError(setting, "is no address", hint) from None
        if parts.scheme == "file":
            path = folder / unquote(parts.path)
            return cls("file", str(path), str(path))
        # Turso speaks HTTP everywhere; the newer of its hosts do not speak WebSocket any more.
        scheme = "https" if parts.scheme == "libsql" else parts.scheme
        return cls("ws" if scheme in ("ws", "wss") else "http", f"{scheme}://{parts.netloc}{parts.path}", parts.netloc)
