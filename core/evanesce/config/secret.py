"""The secret that signs tokens, if none is configured: generated once, and kept in the working folder."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from evanesce.errors import ConfigurationError

NAME = "evanesce.secret"
"""The name of the file."""

FOLDER_HINT = "Set server.secret, or start in a folder where the server may write"
"""What to do if the file cannot be created."""

_LEAST = 32
_HINT = "Set server.secret, or delete the file: then the server generates a new one, and everyone has to sign in again"


def keep(folder: Path) -> str:
    """Return the secret in `folder`, and generate it if there is none. Raises `ConfigurationError`.

    Only the owner of the file may read it. Servers that start at the same time get the same secret.
    """
    file = folder / NAME
    try:
        return _read(file)
    except FileNotFoundError:
        _create(file)
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


def _create(file: Path) -> None:
    """Write a new secret, unless another server has just written one.

    It is written to a temporary file, which is then linked to the name: so the file is never incomplete.
    """
    temporary = file.with_name(f".{NAME}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as opened:
                os.fchmod(descriptor, 0o600)  # the umask may have removed the access of the owner
                opened.write(secrets.token_urlsafe(48) + "\n")
                opened.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            str(file),
            f"the secret that signs tokens cannot be stored ({error.strerror})",
            FOLDER_HINT,
        ) from error


def _unusable(file: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(str(file), problem, _HINT)
