"""What holds between settings, and what a whole configuration may not ask for."""

from __future__ import annotations

from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.protocol.codec import FRAME_BYTES

_ENVELOPE_BYTES = 512
"""What a `send` holds beside its content: names, ids and a `ref` of 64 characters."""

_ESCAPED_BYTES = 6
"""What one byte of content becomes at most: JSON may write any character of ASCII as `\\u0041`."""

_MEMBER_BYTES = 330
"""What a member takes in a roster at most: an id, and a name of 64 characters of 4 bytes each."""

_CURSOR_BYTES = 2048
"""What a `joined` holds beside its roster and its messages, and a message beside its content."""


def check(config: Config) -> None:
    """Raise `ConfigurationError` for settings that do not go together."""
    server, redis = config.server, config.redis
    if server.secret is None and (server.workers > 1 or redis.url != "embedded"):
        reason = "an outside Redis" if redis.url != "embedded" else "more than one worker"
        raise ConfigurationError(
            "server.secret",
            f"must be set for {reason}: every server needs the same one",
            'Set 32 or more random characters, for example secret = { env = "EVANESCE_SECRET" }',
        )
    if redis.cluster and redis.url == "embedded":
        raise ConfigurationError(
            "redis.cluster",
            "the embedded Valkey is no cluster",
            "Name some of the cluster's nodes in redis.url: redis://HOST:PORT,HOST:PORT",
        )
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
