"""The settings of a transport that listens on a TCP port: its address, and its certificate for TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError
from evanesce.webaddress import split_authority

FilePath = Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a file")]


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address to listen on, and TLS. A transport derives its own settings, with a default for `bind`."""

    bind: str
    """The address to listen on, as `host:port` or `[host]:port`. With port 0 the system chooses a port."""
    certfile: FilePath | None = None
    """The certificate for TLS, a PEM file. Without it the server does not use TLS."""
    keyfile: FilePath | None = None
    """The private key of the certificate, if it is not in the same file."""


@dataclass(frozen=True, slots=True)
class Bind:
    """The address to listen on. With port 0 the system chooses the port."""

    host: str
    port: int


def parse_bind(text: str, path: str) -> Bind:
    """Parse `host:port` or `[host]:port`. Raises `ConfigurationError` about the key `path`."""
    hint = 'Write "HOST:PORT", such as "127.0.0.1:8000" or "[::1]:8000"'
    try:
        host, port = split_authority(text, zones=True)
    except ValueError as error:
        raise ConfigurationError(path, str(error), hint) from None
    if port is None:
        raise ConfigurationError(path, "has no port", hint)
    return Bind(host, port)


def load_tls(settings: ListenSettings, folder: Path, path: str, protocols: Sequence[str] = ()) -> ssl.SSLContext | None:
    """Return the TLS context; None without a certificate. Raises `ConfigurationError` about a key below `path`.

    Relative paths start from `folder`. `protocols` are the names that clients may choose by ALPN (RFC 7301).
    """
    if settings.certfile is None:
        if settings.keyfile is not None:
            raise ConfigurationError(f"{path}.keyfile", "there is a key without a certificate", "Set certfile too.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if protocols:
        context.set_alpn_protocols(protocols)
    key = None if settings.keyfile is None else folder / settings.keyfile
    for name, file in (("certfile", folder / settings.certfile), ("keyfile", key)):
        try:
            if file is not None:
                file.read_bytes()
        except OSError as error:
            problem = f"{file} cannot be read ({error.strerror})"
            raise ConfigurationError(f"{path}.{name}", problem, "Give a file that the server may read.") from None
    try:
        # With no password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(folder / settings.certfile, key, password="")
    except ssl.SSLError as error:
        setting = f"{path}.{'certfile' if key is None else 'keyfile'}"
        if error.reason == "KEY_VALUES_MISMATCH":
            problem, hint = "the key does not belong to the certificate", "Give the key that it was made with."
        elif key is None and b"PRIVATE KEY-----" not in (folder / settings.certfile).read_bytes():
            problem, hint = "there is no private key in the file", f"Name the file of the key in {path}.keyfile."
        else:
            problem = f"the certificate or its key cannot be used ({error.reason or 'not in PEM'})"
            hint = "Give PEM files, without a password."
        raise ConfigurationError(setting, problem, hint) from None
    return context
