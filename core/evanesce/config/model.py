"""The tables and keys of `config.toml` that are Evanesce's own, with their defaults and ranges.

A plugin's table, `[plugins.NAME]`, is of the plugin's own model. A pattern's description says it in words.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400 * 365)]

Days = Annotated[float, Meta(gt=0, le=36_500)]

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z", description="1 to 64 letters, digits, dots, colons, dashes or underscores"
    ),
]

Origin = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/?#@*\s]+\Z",
        description="a page's origin such as https://example.org: without a path or a slash at its end",
    ),
]


class Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration: an unknown key in it is an error. Its values may be secret: `repr` shows none."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class ServerTable(Table, kw_only=True, frozen=True):
    """`[server]`: `secret` signs tokens; `public_url` is what deep links begin with; `origins` are other pages."""

    secret: Annotated[str, Meta(min_length=32)] | None = None
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?\Z",
            description="an address that begins with http:// or https:// and has no query",
        ),
    ] = "http://127.0.0.1:8000"
    origins: tuple[Origin, ...] = ()
    node: Name | None = None
    workers: Positive = 1
    drain_seconds: Seconds = 10.0
    token_hours: Annotated[float, Meta(gt=0, le=8760)] = 24.0
    refresh_days: Annotated[float, Meta(ge=0, le=3650)] = 30.0
    session_log: bool = True


class RedisTable(Table, kw_only=True, frozen=True):
    """`[redis]`: `url` is `embedded`, or an address of a Redis, of nodes of a cluster, or of sentinels."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(embedded\Z|rediss?://|rediss?\+sentinel://|unix://)",
            description="embedded, or an address that begins with redis://, rediss://, unix:// or redis+sentinel://",
        ),
    ] = "embedded"
    cluster: bool = False
    prefix: Name = "evanesce"


class MessagesTable(Table, kw_only=True, frozen=True):
    """`[messages]`: `ttl` in seconds, `content_bytes` of UTF-8, `history` in messages."""

    ttl: Annotated[float, Meta(ge=0.1, le=86_400)] = 60.0
    content_bytes: Annotated[int, Meta(ge=1, le=32_768)] = 4096
    history: Annotated[int, Meta(ge=0, le=10_000)] = 500


class RoomsTable(Table, kw_only=True, frozen=True):
    """`[rooms]`: how many users a room takes, and up to how many it names."""

    capacity: Positive = 10_000
    roster_size: Annotated[int, Meta(ge=0, le=500)] = 200


class LimitsTable(Table, kw_only=True, frozen=True):
    """`[limits]`: what one person, one connection and one address may use."""

    messages_per_second: Annotated[float, Meta(gt=0)] = 5.0
    burst: Positive = 20
    connections_per_user: Positive = 10
    rooms_per_connection: Positive = 50
    rooms_per_user: Positive = 100
    sign_ins_per_minute: Positive = 30
    frame_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 65_536
    outbox_bytes: Annotated[int, Meta(ge=524_288, le=1_073_741_824)] = 1_048_576
    hello_seconds: Seconds = 10.0
    heartbeat_seconds: Seconds = 25.0


class RetentionTable(Table, kw_only=True, frozen=True):
    """`[retention]`: after how many days what lasts is deleted; None: it is kept."""

    session_log_days: Days | None = None
    closed_room_days: Days | None = None
    guest_days: Days | None = None


class Config(Table, kw_only=True, frozen=True):
    """The whole configuration.

    `plugins` are the enabled ones, in order, with their settings: of their own models, None where they declare none.
    """

    plugins: dict[str, Any]
    server: ServerTable
    redis: RedisTable
    messages: MessagesTable
    rooms: RoomsTable
    limits: LimitsTable
    retention: RetentionTable
