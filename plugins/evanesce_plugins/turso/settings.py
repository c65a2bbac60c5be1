"""The settings of `[plugins.turso]`, and the address of the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.webaddress import parse_web_address
from evanesce_plugins.sql.files import name_of

Url = Annotated[
    str,
    Meta(
        pattern=r"^((libsql|https?|wss?)://[^/?#@\s]+(/[^?#\s]*)?"
        r"|file:(//(localhost)?(?=/)|(?!//))(?!/?:memory:)/?[^/?#\x00][^?#\x00]*)\Z",
        description="an address that begins with libsql://, https://, http://, wss://, ws:// or file: and has no query",
    ),
]

Way = Literal["http", "ws", "file"]
"""The protocol by which a database is reached."""


class TursoSettings(Confidential, msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.turso]`: the libSQL database."""

    url: Url
    """The database.

    `libsql://` is the same as `https://`. A file is relative to the working folder, and is created if it does not
    exist.
    """
    auth_token: Annotated[str, Meta(pattern=r"^[!-~]+\Z", description="a token, without spaces")] | None = None
    """The token that the database asks for. It is secret: set it by `env` or `file`."""
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    """Seconds that a call may take. A call that a client waits for is abandoned after 2.5 s in any case."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a database: `url` for the client of its `way` (a path for `file`), `name` for messages.

    `database` is the same for all protocols, see `evanesce.interfaces.Repository`.
    """

    way: Way
    url: str
    name: str
    database: str

    @classmethod
    def of(cls, url: str, folder: Path, setting: str) -> Address:
        """Parse the setting. A file's path is relative to `folder`. Raises `ConfigurationError` about `setting`."""
        if url.startswith("file:"):
            path = folder / unquote(urlsplit(url).path)
            return cls("file", str(path), str(path), name_of(path))
        address = parse_web_address(url, setting)
        # All hosts of Turso support HTTP; newer ones do not support WebSocket any more.
        scheme = "https" if address.scheme == "libsql" else address.scheme
        way: Way = "ws" if scheme in ("ws", "wss") else "http"
        database = f"{address.authority}{address.path}"
        return cls(way, f"{scheme}://{database}", address.authority, database)
