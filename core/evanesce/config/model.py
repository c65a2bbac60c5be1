"""The tables and keys of `config.toml` that are Evanesce's own, with their defaults and ranges.

Each plugin declares the model of its own table, `[plugins.NAME]`. A pattern has a description that states it in words.
docs/reference/configuration.md is generated from the docstrings of the keys.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.interfaces import SECRET_PATH

# Every number has an upper bound, because Redis and SQLite refuse numbers beyond 2**63. A divisor has a lower bound,
# because the inverse of a tiny rate is too long to wait for.
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Rate = Annotated[float, Meta(ge=0.001, le=1_000_000)]
Seconds = Annotated[float, Meta(ge=0.1, le=86_400 * 365)]

Days = Annotated[float, Meta(ge=0, le=36_500)]

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z", description="1 to 64 letters, digits, dots, colons, dashes or underscores"
    ),
]

LoggerName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z",
        max_length=100,
        description="a module, such as evanesce.store",
    ),
]

AdminBind = Annotated[
    str,
    Meta(
        pattern=r"^(unix:[^\x00]+|[^\s/]+:[0-9]{1,5})\Z",
        description="HOST:PORT, or unix: with the path of a socket",
    ),
]

Origin = Annotated[
    str,
    Meta(
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@*\s]+\Z",
        description="a page's origin such as https://example.org: without a path or a slash at its end",
    ),
]

PublicUrl = Annotated[
    str,
    Meta(
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+(/[^?#\s]*)?\Z",
        description="an address that begins with http:// or https:// and has no query",
    ),
]

CollectorUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?\Z",
        description="an address that begins with http:// or https://",
        extra=SECRET_PATH,
    ),
]

_FORM = "32 or more characters of ASCII, without spaces and line ends"

Secret = Annotated[str, Meta(pattern=r"^[!-~]{32,}\Z", description=_FORM)]

MOST_SECRETS = 4
"""How many secrets one setting has at most: each of them makes a forged token slower to refuse."""

# One secret has no pattern here: msgspec 0.22 corrupts the memory of the process when it frees the type of a text that
# has a pattern and may be a list as well. `convert` applies the pattern of the list's items to it.
Secrets = (
    Annotated[str, Meta(description=_FORM)] | Annotated[tuple[Secret, ...], Meta(min_length=1, max_length=MOST_SECRETS)]
)
"""One secret, or several of which the first is used and all are accepted."""


def secrets_of(value: Secrets | None) -> tuple[str, ...]:
    """Return the secrets of a setting in their order; none if it is not set."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class Table(Confidential, msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration. An unknown key in it is an error. `repr` shows no values, which may be secret."""


class ServerTable(Table, kw_only=True, frozen=True):
    """`[server]`: the server as a whole."""

    secret: Secrets | None = None
    """The key that signs session tokens.

    Of a list of up to 4, the first signs and all are accepted, so that a secret can be replaced while nobody is signed
    out: see docs/how-to/replace-secrets.md. Anyone who knows one of them can sign in as any user. Without it, the
    server generates a secret at its first start and stores it in `evanesce.secret` in the working folder, readable by
    its owner only. It must be set with an outside Redis and with several workers, because all servers that share rooms
    need the same secret.
    """
    ban_secret: Secret | None = None
    """The key by which bans, mutes and votes name people.

    Without it, `secret`. It must be set where `secret` is a list: to the secret that the server had before, because
    another one ends all bans.
    """
    public_url: PublicUrl | None = None
    """The address by which people reach the server.

    Deep links begin with it; they are computed when they are sent, so they follow a change of this setting. Its origin
    is the page's own origin, and its host is one that requests may name. It may have a path: see
    docs/how-to/serve-behind-a-proxy.md#below-a-path. Without it, the server uses `bind` of the first enabled plugin
    that has one, with `https` if `certfile` is set; for `0.0.0.0` or `[::]` it uses `127.0.0.1` or `[::1]`. It must be
    set if that is a Unix socket.
    """
    origins: tuple[Origin, ...] = ()
    """Origins of other pages that may connect from a browser and receive CORS headers.

    Requests may name their hosts as well. Upper case, the scheme's default port and international names are normalised
    as browsers write them.
    """
    node: Name | None = None
    """The name of this server among those that share a Redis.

    Without it, the server derives a name from the host name at each start. Workers append their number to it.
    """
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    """The number of processes that serve, all on the same ports. See docs/how-to/run-several-workers.md."""
    lame_duck_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """Seconds after SIGTERM or SIGINT during which `/readyz` answers `draining` while the server still serves
    everyone, new connections included. A load balancer has this time to send clients elsewhere before the port
    closes. `drain_seconds` begin afterwards.
    """
    drain_seconds: Seconds = 10.0
    """Seconds that clients and rooms have to end after SIGTERM, SIGINT or SIGHUP."""
    token_hours: Annotated[float, Meta(ge=0.01, le=8760)] = 24.0
    """Hours for which a session token is valid."""
    refresh_days: Annotated[float, Meta(ge=0, le=3650)] = 30.0
    """Days after the sign-in during which a token can be exchanged for a new one."""
    session_log: bool = True
    """Whether the server records who was in which room, from when to when, in the table `SessionLog`.

    Without it nobody but its creator comes back to a locked room when Redis has lost its data.
    """


class RedisTable(Table, kw_only=True, frozen=True):
    """`[redis]`: the Redis that holds the messages."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(embedded\Z|rediss?://|rediss?\+sentinel://|unix://)",
            description="embedded, or an address that begins with redis://, rediss://, unix:// or redis+sentinel://",
        ),
    ] = "embedded"
    """The Redis that holds the messages.

    `embedded` starts a Valkey as a child process, which writes nothing to disk. An outside Redis must not write to disk
    either, because snapshots and append-only files keep content past its time to live; `evanesce check` fails if it
    does. See docs/how-to/use-an-outside-redis.md.
    """
    cluster: bool = False
    """Whether `url` names nodes of a Redis Cluster, as `redis://HOST:PORT,HOST:PORT`.

    See docs/how-to/use-an-outside-redis.md#a-redis-cluster.
    """
    prefix: Name = "evanesce"
    """The prefix of the names of all keys and channels. Servers that share rooms use the same prefix."""


class MessagesTable(Table, kw_only=True, frozen=True):
    """`[messages]`: the time to live and the size of messages."""

    ttl: Annotated[float, Meta(ge=0.1, le=86_400)] = 60.0
    """Seconds for which a message lives, in rooms whose creator has chosen nothing else."""
    shortest_ttl: Annotated[float, Meta(ge=0.1, le=86_400)] = 1.0
    """The shortest time to live that a room's creator, or the sender of a message, may choose, in seconds."""
    longest_ttl: Annotated[float, Meta(ge=0.1, le=86_400)] = 86_400.0
    """The longest time to live that a room's creator may choose, in seconds."""
    content_bytes: Annotated[int, Meta(ge=1, le=32_768)] = 4096
    """The size of the longest message, in bytes of UTF-8."""
    history: Annotated[int, Meta(ge=0, le=10_000)] = 500
    """The number of live messages in the answer to `join`. The others follow as events."""
    encrypt_at_rest: bool = False
    """Whether the content of messages is encrypted in Redis, with keys that only the servers have, for as long as the
    messages live. Needs the extra `encryption`. See docs/explanation/encryption-at-rest.md.
    """


class RoomsTable(Table, kw_only=True, frozen=True):
    """`[rooms]`: the size of rooms."""

    capacity: Count = 10_000
    """The number of people that a room admits, over all servers."""
    roster_size: Annotated[int, Meta(ge=0, le=500)] = 200
    """The number of people up to which a room lists its members and announces each one who joins or leaves.

    A larger room only announces the number of its members.
    """
    guests_vote: bool = False
    """Whether guests may vote on the removal of a member, although a person can have many guest accounts.

    They may in any case if `guest` is the only provider.
    """


class LimitsTable(Table, kw_only=True, frozen=True):
    """`[limits]`: what one person, one connection and one address may use."""

    messages_per_second: Rate = 5.0
    """The sustained rate of messages of one person, over all connections to all servers."""
    burst: Count = 20
    """The number of messages that one person may send at once. Each server may hold a fourth of it for some seconds."""
    commands_per_second: Rate = 50.0
    """The sustained rate of commands other than `send` of one person at one server.

    At once: the commands of one second, and as many as rooms may be joined at once. Every frame that is not a `send`
    counts, even if it is not a command.
    """
    joins_per_second: Rate = 5.0
    """The sustained rate at which one person may join rooms at one server.

    At once: `rooms_per_connection`, so that a client that reconnects can join all its rooms, and at least the joins of
    10 s.
    """
    members_per_second: Rate = 2.0
    """The sustained rate at which one person may request the members of rooms at one server.

    At once: the requests of 5 s.
    """
    renames_per_minute: Count = 6
    """How often one person may change the profile in a minute, over all servers. As many are allowed at once."""
    rooms_per_hour: Count = 60
    """The number of rooms that one person may create in an hour, over all servers, including rooms that were closed
    since. As many are allowed at once.
    """
    connections_per_user: Count = 10
    """The number of connections that one person may have, over all servers."""
    rooms_per_connection: Count = 50
    """The number of rooms that one connection may be in."""
    rooms_per_user: Count = 100
    """The number of open rooms that one person may have created."""
    sign_ins_per_minute: Count = 30
    """How often one address may try to sign in, over all servers."""
    connections_per_address: Count = 100
    """The number of connections that one address may have to one server process."""
    handshakes_per_second: Rate = 20.0
    """The sustained rate of connections or HTTP requests that one address may begin at one server process.

    Twice as many are allowed at once. More are answered with 429.
    """
    commands_before_hello: Rate = 10.0
    """The rate of commands of a connection that has not signed in, per second."""
    exempt_addresses: tuple[str, ...] = ("127.0.0.0/8", "::1")
    """Networks to which `connections_per_address`, `handshakes_per_second` and `commands_before_hello` do not
    apply: health checks, load generators, proxies that are not in `trusted_proxies`.
    """
    frame_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 65_536
    """The size of the largest frame from a client, in bytes.

    It must be at least six times `messages.content_bytes` plus 512, because JSON may write one byte as six (`\\u0041`).
    """
    outbox_bytes: Annotated[int, Meta(ge=524_288, le=1_073_741_824)] = 1_048_576
    """The number of bytes that may wait for a slow client.

    Messages that do not fit follow as the client reads. A client that is behind and acknowledges less than a 64th of
    this in 3 s is disconnected.
    """
    hello_seconds: Seconds = 10.0
    """Seconds that a new connection has to sign in, from the TCP connection on.

    2 s while more than 1,000 connections have not sent `hello`.
    """
    heartbeat_seconds: Seconds = 25.0
    """Seconds between two pings. A client that answers none for twice as long is disconnected."""


class RetentionTable(Table, kw_only=True, frozen=True):
    """`[retention]`: after how many days rows of the database are deleted. 0 keeps them for ever."""

    session_log_days: Days = 90.0
    """Days after its end for which a session is kept (a row of `SessionLog`)."""
    closed_room_days: Days = 7.0
    """Days for which a closed room is kept. Its sessions, invites, admissions and bans are deleted with it."""
    guest_days: Days = 1.0
    """Days after a guest's last activity for which the account is kept.

    A guest who is connected or uses HTTP is active. Afterwards the account is erased and its rooms are closed, as by
    `forget_me`, unless someone is in one of them. The row is deleted when no room is left that the guest created,
    closed rooms included.
    """


class AdminTable(Table, kw_only=True, frozen=True):
    """`[admin]`: the interface for operators. It is off without a token. See docs/how-to/administer-a-server.md."""

    bind: AdminBind | None = None
    """The address to listen on: `HOST:PORT`, or `unix:` and the path of a socket, such as `unix:admin.sock`.

    Without it, `127.0.0.1:8002`. A relative path starts from the working folder. Only the user of the server can use
    the socket. There is no TLS: let other machines reach it through a proxy that has TLS, or through SSH.
    """
    token: Secrets | None = None
    """What every request has to prove that it comes from an operator.

    Of a list of up to 4, all are accepted, and `evanesce admin` sends the first. Anyone who knows one of them can close
    rooms, ban people and take servers out of service.
    """


LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class LogsTable(Table, kw_only=True, frozen=True):
    """`[logs]`: what is written to standard error, and how. See docs/how-to/read-the-log.md."""

    format: Literal["text", "json"] = "text"
    """`text` for people, or `json`: an object on each line."""
    level: LogLevel = "info"
    """The lowest level that Evanesce and its plugins log. Libraries always log from `warning` on."""
    levels: dict[LoggerName, LogLevel] = {}
    """Levels of single parts, which override `level`: a part is a module with all that is in it, such as
    `"evanesce.store" = "debug"`. A library may be given `warning`, `error` or `critical`.
    """
    addresses: Literal["full", "truncated", "none"] = "full"
    """What the log holds of the addresses of clients.

    `truncated` keeps the network: 24 bits of an IPv4 address, 48 bits of an IPv6 address. The addresses of this machine
    itself are always kept.
    """


class TracesTable(Table, kw_only=True, frozen=True):
    """`[traces]`: traces of OpenTelemetry, off without `url`. It needs the extra `traces`.

    See docs/how-to/trace-a-server.md.
    """

    url: CollectorUrl | None = None
    """The collector, by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`."""
    ratio: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """The part of sign-ins, joins, messages and HTTP requests that is traced."""


class Config(Table, kw_only=True, frozen=True):
    """The whole configuration.

    `plugins` maps the names of the enabled plugins, in order, to their settings: instances of their own models, or None
    for a plugin that declares no model.
    """

    plugins: dict[str, Any]
    server: ServerTable
    redis: RedisTable
    messages: MessagesTable
    rooms: RoomsTable
    limits: LimitsTable
    retention: RetentionTable
    admin: AdminTable = AdminTable()
    logs: LogsTable = LogsTable()
    traces: TracesTable = TracesTable()
