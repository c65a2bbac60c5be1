"""The links that people pass on: of a server, and of a room, with the secrets behind the `#`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from evanesce.confidential import Confidential
from evanesce.errors import EvanesceError
from evanesce.room_encryption import BadKey, RoomKey
from evanesce.webaddress import WebAddress, split_authority

_ROOM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class BadLink(EvanesceError):
    """A text is not a link of the kind that is needed."""


@dataclass(frozen=True, slots=True)
class ServerLink:
    """The address of a server: `url` is that of its WebSocket, `host` its name for people."""

    url: str
    host: str

    @classmethod
    def parse(cls, link: str) -> ServerLink:
        """Parse `http(s)://HOST[:PORT]`, with an optional path. Raises `BadLink`."""
        scheme, authority, path, _ = _split(link)
        if scheme not in ("http", "https"):
            raise BadLink("an address must have the form http://HOST:PORT")
        return cls.of(scheme, authority, path.rstrip("/"))

    @classmethod
    def of(cls, scheme: str, authority: str, path: str) -> ServerLink:
        """Return the server at `path` of an address of HTTP. Raises `BadLink`."""
        try:
            host, port = split_authority(authority.rpartition("@")[2])
        except ValueError as error:
            raise BadLink(f"this link {error}") from None
        if port == 0:
            raise BadLink("this link has port 0, which cannot be connected to")
        address = WebAddress("wss" if scheme == "https" else "ws", host, port, path)
        return cls(f"{address.text}/ws", address.authority)


@dataclass(frozen=True, slots=True, repr=False)
class DeepLink(Confidential):
    """The deep link of a room: `url` is the WebSocket address of the server, `host` its name for people.

    `key` and `invite` are from the fragment, which no request contains.
    """

    url: str
    host: str
    room_id: str
    key: RoomKey | None = None
    invite: str | None = None

    @property
    def hinted_url(self) -> str:
        """The WebSocket address that names the room: a hint for a server with several workers."""
        return f"{self.url}?roomId={self.room_id}"

    @classmethod
    def parse(cls, link: str) -> DeepLink:
        """Parse `http(s)://HOST[:PORT]/r/ROOMID`, with an optional path before `/r/`. Raises `BadLink`.

        Behind it may be `#k=KEY`, `#invite=SECRET`, or both with `&` between.
        """
        scheme, authority, path, fragment = _split(link)
        base, found, written = path.removesuffix("/").rpartition("/r/")
        room = unquote(written)
        if scheme not in ("http", "https") or not found or not _ROOM.fullmatch(room):
            raise BadLink("a link must have the form http://HOST:PORT/r/ROOMID, as the web page shows it")
        server = ServerLink.of(scheme, authority, base)
        secrets = {name: value for name, _, value in (part.partition("=") for part in fragment.split("&"))}
        try:
            key = RoomKey.parse(secrets["k"]) if "k" in secrets else None
        except BadKey:
            raise BadLink("the key in this link (#k=) is not whole: copy all of the link") from None
        return cls(server.url, server.host, room.lower(), key, unquote(secrets.get("invite", "")) or None)


def is_of_a_room(link: str) -> bool:
    """Return whether a link is meant to be that of a room, whole or not. Raises `BadLink`."""
    _, _, path, fragment = _split(link)
    return bool(fragment) or "/r/" in f"{path}/"


def is_room_id(text: str) -> bool:
    """Return whether a text is the id of a room, in lower or upper case."""
    return _ROOM.fullmatch(text) is not None


def with_key(link: str, key: RoomKey | None) -> str:
    """Return a link that the server has made with the room's key in its fragment, before what is there."""
    if key is None:
        return link
    address, _, fragment = link.partition("#")
    return f"{address}#k={key.text}{'&' if fragment else ''}{fragment}"


def _split(link: str) -> tuple[str, str, str, str]:
    """Return the scheme, the authority, the path and the fragment."""
    try:
        parts = urlsplit(link.strip())
    except ValueError:
        raise BadLink("this is not a link") from None
    return parts.scheme, parts.netloc, parts.path, parts.fragment
