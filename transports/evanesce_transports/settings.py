"""What a deployer may set for any transport that listens on a TCP port, and what it means."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evanesce.errors import ConfigurationError


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how to listen.

    `bind` is `host:port`. With `certfile` (and `keyfile`, where the key is not in it) the server speaks TLS. From
    `trusted_proxies`, addresses or networks, X-Forwarded-For is believed.
    """

    bind: str
    certfile: str | None = None
    keyfile: str | None = None
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int


def parse_bind(text: str, path: str) -> Bind:
    """Read `host:port` or `[host]:port`. Raises `ConfigurationError` about the key `path`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigurationError(path, "this is no address", 'Write "HOST:PORT", such as "127.0.0.1:8000".')
    return Bind(host, int(port))


def load_tls(settings: ListenSettings, folder: Path, path: str) -> ssl.SSLContext | None:
    """Give what TLS needs; None without a certificate. Raises `ConfigurationError` about `path` + `.certfile`."""
    if settings.certfile is None:
        if settings.keyfile is not None:
            raise ConfigurationError(f"{path}.keyfile", "a key without a certificate", "Set certfile too.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    key = None if settings.keyfile is None else folder / settings.keyfile
    try:
        context.load_cert_chain(folder / settings.certfile, key)
    except (OSError, ssl.SSLError) as error:
        problem = f"the certificate or its key cannot be used ({error.strerror or type(error).__name__})"
        raise ConfigurationError(f"{path}.certfile", problem, "Give PEM files, without a password.") from None
    return context
