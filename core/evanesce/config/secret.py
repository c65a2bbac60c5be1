"""The secret that signs tokens, where none is configured: made once and kept in the working folder."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from evanesce.errors import ConfigurationError

NAME = "evanesce.secret"
"""The file's name."""

_LEAST = 32
_HINT = "Set server.secret, or delete the file: a new one is made and everyone has to sign in again"


def keep(folder: Path) -> str:
    """Give the secret kept in `folder`, made now if there is none. Raises `ConfigurationError`.

    Only the file's owner may read it. Servers that start at the same time get the same one.
    """
    file = folder / NAME
    try:
        return _read(file)
    except FileNotFoundError:
        _make(file)
    except OSError as error:
        raise _unusable(file, f"cannot be read ({error.strerror})") from error
    try:
        return _read(file)
    except OSError as error:
        raise _unusable(file, f"cannot be read ({error.strerror})") from error


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
            raise ConfigurationError(
                str(file), "others on this machine may read it", f"Set server.secret, or run chmod 600 {file}"
            )
        content = opened.read()
    try:
        secret = content.decode("ascii").strip()
    except UnicodeDecodeError:
        # from None: the exception holds the secret
        raise _unusable(file, "is not text") from None
    if len(secret) < _LEAST:
        raise _unusable(file, "is empty" if not secret else f"has fewer than {_LEAST} characters")
    return secret


def _make(file: Path) -> None:
    """Write a new secret; where another server was faster, its secret stays.

    It is written aside and linked into its place: so the file is there whole or not at all.
    """
    aside = file.with_name(f".{NAME}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as opened:
                opened.write(secrets.token_urlsafe(48) + "\n")
                opened.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(aside, file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            str(file),
            f"the secret that signs tokens cannot be kept ({error.strerror})",
            "Set server.secret, or start in a folder that the server may write to",
        ) from error


def _unusable(file: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(str(file), problem, _HINT)
