"""The rules between settings, which the models of single tables cannot express."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from evanesce.addresses import parse_networks
from evanesce.config.model import AdminTable, Config, secrets_of
from evanesce.config.public import public_address
from evanesce.errors import ConfigurationError
from evanesce.protocol.codec import FRAME_BYTES
from evanesce.webaddress import SOCKET_PATH_BYTES, UNIX, is_unix, parse_web_address, split_authority

_ENVELOPE_BYTES = 512
"""The size of a `send` without its content: names, ids and a `ref` of 64 characters."""

_ESCAPED_BYTES = 6
"""The most bytes for one byte of content: JSON may write any ASCII character as `\\u0041`."""

_MEMBER_BYTES = 330
"""The largest size of a member in a roster: an id, and a name of 64 characters of 4 bytes each."""

_CURSOR_BYTES = 2048
"""The size of a `joined` without its roster and messages, and of a message without its content."""


def check(config: Config) -> None:
    """Raise `ConfigurationError` for settings that contradict each other."""
    server, redis = config.server, config.redis
    if server.secret is None and (server.workers > 1 or redis.url != "embedded"):
        reason = "an outside Redis" if redis.url != "embedded" else "more than one worker"
        raise ConfigurationError(
            "server.secret",
            f"must be set for {reason}, because all servers need the same secret",
            'Set 32 or more random characters, for example secret = { env = "EVANESCE_SECRET" }',
        )
    refuse_repeated(secrets_of(server.secret), "server.secret")
    if not isinstance(server.secret, str | None) and server.ban_secret is None:
        raise ConfigurationError(
            "server.ban_secret",
            "must be set where server.secret is a list, because another key to name people by ends all bans",
            "Set it to the secret that the server had before it had a list, and keep it",
        )
    if redis.cluster and redis.url == "embedded":
        raise ConfigurationError(
            "redis.cluster",
            "the embedded Valkey is not a cluster",
            "Name nodes of the cluster in redis.url: redis://HOST:PORT,HOST:PORT",
        )
    _check_admin(config.admin)
    messages = config.messages
    if messages.shortest_ttl > messages.longest_ttl:
        raise ConfigurationError(
            "messages.shortest_ttl",
            f"is longer than messages.longest_ttl of {messages.longest_ttl:g}",
            f"Set it to {messages.longest_ttl:g} or less",
        )
    if messages.ttl > messages.longest_ttl:
        raise ConfigurationError(
            "messages.ttl",
            f"is longer than messages.longest_ttl of {messages.longest_ttl:g}",
            f"Set messages.longest_ttl to {messages.ttl:g} or more",
        )
    if messages.encrypt_at_rest and find_spec("cryptography") is None:
        raise ConfigurationError(
            "messages.encrypt_at_rest",
            "needs the package cryptography, which is not installed",
            "Install evanesce[encryption]",
        )
    if config.traces.url is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        raise ConfigurationError(
            "traces.url",
            "needs the package opentelemetry-exporter-otlp-proto-http, which is not installed",
            "Install evanesce[traces]",
        )
    public_address(config)
    for i, origin in enumerate(server.origins):
        parse_web_address(origin, f"server.origins[{i}]")
    parse_networks(config.limits.exempt_addresses, "limits.exempt_addresses")
    least = _ESCAPED_BYTES * config.messages.content_bytes + _ENVELOPE_BYTES
    if config.limits.frame_bytes < least:
        raise ConfigurationError(
            "limits.frame_bytes",
            f"is too small for messages.content_bytes of {config.messages.content_bytes}",
            f"Set it to {least} or more",
        )
    named = _ESCAPED_BYTES * config.messages.content_bytes + _MEMBER_BYTES * config.rooms.roster_size + _CURSOR_BYTES
    if named > FRAME_BYTES:
        raise ConfigurationError(
            "rooms.roster_size",
            f"does not leave room for a message of messages.content_bytes in a frame of {FRAME_BYTES} bytes",
            "Make one of them smaller",
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is a package that it is in
        return False


def refuse_repeated(secrets: Sequence[str], path: str) -> None:
    """Raise `ConfigurationError` for a list in which a secret stands twice: one of them was not replaced."""
    for i, secret in enumerate(secrets):
        if (first := secrets.index(secret)) < i:
            raise ConfigurationError(f"{path}[{i}]", f"is the same as {path}[{first}]", "Name each secret once")


def _check_admin(admin: AdminTable) -> None:
    refuse_repeated(secrets_of(admin.token), "admin.token")
    if admin.bind is None:
        return
    if admin.token is None:
        raise ConfigurationError(
            "admin.token",
            "must be set with admin.bind, because every request has to prove that it comes from an operator",
            'Set 32 or more random characters, for example token = { env = "EVANESCE_ADMIN_TOKEN" }',
        )
    if not is_unix(admin.bind):
        try:
            split_authority(admin.bind, zones=True)
        except ValueError as error:
            raise ConfigurationError(
                "admin.bind", str(error), 'Write "HOST:PORT", such as "127.0.0.1:8002", or "unix:PATH"'
            ) from None
    elif len(admin.bind.encode()) - len(UNIX) > SOCKET_PATH_BYTES:
        raise ConfigurationError(
            "admin.bind",
            f"the path of a Unix socket has at most {SOCKET_PATH_BYTES} bytes",
            "Choose a shorter path, such as unix:admin.sock in the working folder",
        )
