"""The settings of `[plugins.webhooks]`."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import ConfigurationError
from evanesce.interfaces import SECRET_PATH
from evanesce.webaddress import parse_web_address

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")

KEY_BYTES = range(24, 65)
"""How long a key may be, as the specification of Standard Webhooks says."""

EventType = Literal[
    "room.opened",
    "room.closed",
    "member.joined",
    "member.left",
    "member.removed",
    "member.banned",
    "user.erased",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)

_FORM = "whsec_ and 24 to 64 bytes in base64"

# One secret has no pattern here: see the secrets of `evanesce.config.model`. Both forms are decoded by `parse` anyway.
Secrets = (
    Annotated[str, Meta(description=_FORM)]
    | Annotated[tuple[Annotated[str, Meta(description=_FORM)], ...], Meta(min_length=1, max_length=4)]
)

Url = Annotated[
    str,
    Meta(
        max_length=2048,
        description="an address that begins with https:// (http:// on this machine)",
        extra=SECRET_PATH,
    ),
]


class WebhooksSettings(Confidential, msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.webhooks]`: who is told of what happens on this server."""

    urls: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=8)]
    """Where events are sent: each address gets every event. Redirects are not followed."""
    secret: Secrets
    """The key that signs what is sent: set it by `env` or `file`. Of a list of up to 4, each signs, so that a receiver
    can change from one to the next.
    """
    events: tuple[EventType, ...] = EVENT_TYPES
    """Which events are sent."""
    timeout: Annotated[float, Meta(ge=0.1, le=60)] = 10.0
    """Seconds that a receiver has to take an event."""
    retry_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 3600.0
    """For how long an event is tried again that a receiver does not take. Then it is dropped and counted."""
    queue: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    """How many events wait for each receiver, at most. Further ones are dropped and counted."""
    leave_seconds: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """For how long `member.left` is held back. Of a person who comes back meanwhile, neither is sent."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address to send to. `name` is its origin, for the log: the rest of an address may be a secret."""

    name: str
    url: str = field(repr=False)


def targets(settings: WebhooksSettings, table: str) -> Sequence[Target]:
    """Return where to send events. Raises `ConfigurationError` for what is no address, or where others could listen."""
    found: list[Target] = []
    for index, url in enumerate(settings.urls):
        key = f"{table}.urls[{index}]"
        address = parse_web_address(url.partition("?")[0], key)
        if not url.isascii() or not url.isprintable() or " " in url or "#" in url or "@" in address.authority:
            raise ConfigurationError(key, "is no address", "Write it as https://HOST/PATH")
        if address.scheme != "https" and not (address.scheme == "http" and address.host in LOOPBACK_HOSTS):
            raise ConfigurationError(
                key,
                "who is in which room would travel where others can read it",
                "Write https://, or name a receiver on this machine",
            )
        if url in settings.urls[:index]:
            raise ConfigurationError(key, "is there twice", "Each address gets every event once")
        found.append(Target(address.origin, url))
    return found


def keys(settings: WebhooksSettings, table: str) -> Sequence[bytes]:
    """Return the keys that sign. Raises `ConfigurationError`, without the text of a secret."""
    texts = (settings.secret,) if isinstance(settings.secret, str) else settings.secret
    found: list[bytes] = []
    for text in texts:
        try:
            key = b64decode(text.removeprefix("whsec_"), validate=True) if text.startswith("whsec_") else b""
        except (binascii.Error, ValueError):
            key = b""
        if len(key) not in KEY_BYTES:
            raise ConfigurationError(
                f"{table}.secret", f"expected {_FORM}", 'Make one: echo "whsec_$(openssl rand -base64 32)"'
            )
        found.append(key)
    return found
