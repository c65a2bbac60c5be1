"""The settings that must be the same on all servers on one Redis, as texts that servers can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from evanesce.config.model import Config, secrets_of

SHARED = (
    "server.secret",
    "server.ban_secret",
    "server.session_log",
    "messages.ttl",
    "messages.shortest_ttl",
    "messages.longest_ttl",
    "messages.content_bytes",
    "messages.encrypt_at_rest",
    "rooms.capacity",
    "rooms.guests_vote",
    "limits.messages_per_second",
    "limits.burst",
    "limits.renames_per_minute",
    "limits.rooms_per_hour",
    "limits.connections_per_user",
    "limits.rooms_per_user",
    "limits.sign_ins_per_minute",
    "retention.session_log_days",
    "retention.closed_room_days",
    "retention.guest_days",
)
"""Settings that apply over all servers: they accept each other's tokens, and count each other's commands."""

SECRET = "server.secret"
BAN_SECRET = "server.ban_secret"
PROVIDERS = "the ways to sign in"
DATABASE = "the database"

FINGERPRINTS = (SECRET, BAN_SECRET, DATABASE)
"""What servers compare by fingerprints. A client must not change between servers that differ in one of these."""

_DOMAIN = b"evanesce: fingerprints of what servers on one Redis share, version 1"


def shared_settings(config: Config, providers: Iterable[str], database: str | None) -> dict[str, str]:
    """Return each shared setting by its name, as a text that anyone with access to Redis may read.

    The secrets and the database are represented by fingerprints. A value that is not known yet (None) is left out. This
    blocks for about 50 ms for each secret and takes 16 MiB, because a slow fingerprint makes it hard to guess one.
    """
    settings: dict[str, str] = {}
    for name in SHARED:
        table, _, key = name.partition(".")
        value: object = getattr(getattr(config, table), key)
        if isinstance(value, float):
            settings[name] = f"{value:.15g}"
        elif value is not None:
            settings[name] = str(value).lower()
    settings[PROVIDERS] = ", ".join(sorted(providers))
    if secrets := secrets_of(config.server.secret):
        of_bans = config.server.ban_secret or secrets[0]
        fingerprints = {secret: _fingerprint(secret) for secret in {*secrets, of_bans}}
        settings[SECRET] = " ".join(fingerprints[secret] for secret in secrets)
        settings[BAN_SECRET] = fingerprints[of_bans]
    else:
        settings.pop(BAN_SECRET, None)
    if database is not None:
        settings[DATABASE] = hashlib.sha256(_DOMAIN + database.encode()).hexdigest()[:32]
    return settings


def differences(own: Mapping[str, str], other: Mapping[str, str]) -> Sequence[str]:
    """Return the settings that two servers have both published with different values, with the readable values.

    Of `server.secret`, each has to accept what the other one signs with.
    """
    return [
        name if name in FINGERPRINTS else f"{name} ({own[name]} here, {other[name]} there)"
        for name in own
        if name in other and not _agree(name, own[name], other[name])
    ]


def _agree(name: str, own: str, other: str) -> bool:
    if name != SECRET:
        return own == other
    ours, theirs = own.split(), other.split()
    return ours[:1] == theirs[:1] or (bool(ours and theirs) and ours[0] in theirs and theirs[0] in ours)


def _fingerprint(secret: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=_DOMAIN, n=2**14, r=8, p=1, dklen=16).hex()
