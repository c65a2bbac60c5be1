"""The settings of a transport that listens: its address, and its certificate for TLS."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError
from evanesce.webaddress import SOCKET_PATH_BYTES, UNIX, is_unix, split_authority

FilePath = Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a file")]


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address to listen on, and TLS. A transport derives its own settings, with a default for `bind`."""

    bind: str
    """The address to listen on, as `host:port` or `[host]:port`, or `unix:` and the path of a socket.

    With port 0 the system chooses a port. The user and the group of the server may connect to the socket (mode 0660).
    """
    certfile: FilePath | None = None
    """The certificate for TLS, a PEM file. Without it the server does not use TLS."""
    keyfile: FilePath | None = None
    """The private key of the certificate, if it is not in the same file."""


@dataclass(frozen=True, slots=True)
class Bind:
    """The address to listen on. With port 0 the system chooses the port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixBind:
    """The Unix socket to listen on. `path` is the path of its file."""

    path: str


def parse_bind(text: str, path: str) -> Bind | UnixBind:
    """Parse `host:port`, `[host]:port` or `unix:` and a path. Raises `ConfigurationError` about the key `path`."""
    if is_unix(text):
        return UnixBind(_socket_path(text.removeprefix(UNIX), path))
    hint = 'Write "HOST:PORT", such as "127.0.0.1:8000" or "[::1]:8000", or "unix:PATH"'
    try:
        host, port = split_authority(text, zones=True)
    except ValueError as error:
        raise ConfigurationError(path, str(error), hint) from None
    if port is None:
        raise ConfigurationError(path, "has no port", hint)
    return Bind(host, port)


def _socket_path(text: str, path: str) -> str:
    hint = "Choose a short path, such as unix:evanesce.sock in the working folder"
    if not text or "\0" in text:
        raise ConfigurationError(path, "has no path of a Unix socket", hint)
    if len(os.fsencode(text)) > SOCKET_PATH_BYTES:
        raise ConfigurationError(path, f"the path of a Unix socket has at most {SOCKET_PATH_BYTES} bytes", hint)
    return text


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
