"""Other versions of Redis and Valkey than the embedded one, from Debian's archive: fetched, unpacked, never installed.

`python -m tests.redis_versions FOLDER` prints the command that starts each of them, which is one file. What
`EVANESCE_TEST_REDIS` names is what the tests of the store run on, instead of the embedded Valkey:

    EVANESCE_TEST_REDIS=FOLDER/redis-8.0/redis-server pytest tests/core/store
"""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evanesce.store.embedded import valkey_binary

SECONDS = 60.0
"""After how long without an answer the archive counts as out of reach."""

SETTING = "EVANESCE_TEST_REDIS"

_LIBRARY = re.compile(r"lib|zlib")
"""What the names of packages begin with that a server needs. The others belong to an installed system."""

_FOLDERS = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Release:
    """A server in one suite of the archive, which runs with the libraries of another one."""

    name: str
    program: str
    suite: str
    libraries: str


RELEASES = (
    Release("redis-7.0", "redis-server", "bookworm", "bookworm"),
    Release("redis-8.0", "redis-server", "trixie", "trixie"),
    Release("redis-8.6", "redis-server", "experimental", "trixie"),
    Release("valkey-8.0", "valkey-server", "bookworm-backports", "bookworm"),
    Release("valkey-8.1", "valkey-server", "trixie", "trixie"),
)


class Unavailable(Exception):
    """A release cannot be fetched, or cannot run here. The text says why."""


def server_binary() -> Path:
    """Return the server that the tests run on: what `EVANESCE_TEST_REDIS` names, or the embedded Valkey."""
    named = os.environ.get(SETTING)
    return Path(named) if named else valkey_binary()


def version_of(binary: Path) -> str:
    """Return the name and the version of a server, such as `Redis 8.0.2`."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"(\w+) server v=([\d.]+)", told)
    assert found is not None, told
    return f"{found[1]} {found[2]}"


def fetch(release: Release, folder: Path) -> Path:
    """Return the command that starts a release, which is fetched into `folder` if it is not there.

    Raises `Unavailable`.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable("only the packages for Linux on x86-64 are known")
    if shutil.which("dpkg-deb") is None:
        raise Unavailable("dpkg-deb is needed to unpack it")
    root = folder.absolute() / release.name
    command = root / release.program
    if not command.exists():
        shutil.rmtree(root, ignore_errors=True)  # it was begun, and not finished
        for package in _packages(release):
            _unpack(package, root)
        path = ":".join(str(root / libraries) for libraries in _FOLDERS)
        loader = next(filter(Path.exists, (root / libraries / "ld-linux-x86-64.so.2" for libraries in _FOLDERS)))
        script = f"#!/bin/sh\nexec '{loader}' --library-path '{path}' '{root}/usr/bin/{release.program}' \"$@\"\n"
        begun = command.with_suffix(".begun")
        begun.write_text(script)
        begun.chmod(0o755)
        begun.rename(command)
    return command


def _packages(release: Release) -> Iterator[Mapping[str, str]]:
    """Yield the packages of a server and of all libraries that it needs."""
    tools = release.program.replace("-server", "-tools")  # it has the program, and the other package a link to it
    seen = [release.program, tools]
    for name in seen:
        package = _index(release.suite).get(name) if name in (release.program, tools) else None
        package = package or _index(release.libraries).get(name)
        if package is None:
            raise Unavailable(f"the archive has no {name}")
        yield package
        needed = ", ".join(package.get(field, "") for field in ("Pre-Depends", "Depends"))
        for other in re.findall(r"(?:^|, *)([a-z0-9.+-]+)", needed):
            if _LIBRARY.match(other) and other not in seen:
                seen.append(other)


@cache
def _index(suite: str) -> Mapping[str, Mapping[str, str]]:
    """Return the packages of a suite by name."""
    text = lzma.decompress(_read(f"dists/{suite}/main/binary-amd64/Packages.xz")).decode()
    packages = [dict(re.findall(r"^([A-Za-z0-9-]+): (.+)$", entry, re.MULTILINE)) for entry in text.split("\n\n")]
    return {package["Package"]: package for package in packages if package}


def _unpack(package: Mapping[str, str], root: Path) -> None:
    content = _read(package["Filename"])
    if hashlib.sha256(content).hexdigest() != package["SHA256"]:
        raise Unavailable(f"{package['Filename']} is not what the archive's index says")
    root.mkdir(parents=True, exist_ok=True)
    file = root / "package.deb"
    file.write_bytes(content)
    subprocess.run(["dpkg-deb", "-x", file, root], check=True)
    file.unlink()


@cache
def _archive() -> str:
    """Return the archive that this machine's apt uses, by HTTPS: the signature of its index is not checked here."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)"]
    try:
        sites = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"apt does not say where Debian's archive is: {error}") from None
    for site in sites:
        if site.rstrip("/").endswith("/debian"):
            return re.sub("^http:", "https:", site.rstrip("/"))
    raise Unavailable("apt knows no archive of Debian")


def _read(path: str) -> bytes:
    archive = _archive()
    try:
        with urllib.request.urlopen(f"{archive}/{path}", timeout=SECONDS) as answer:
            content: bytes = answer.read()
    except OSError as error:
        raise Unavailable(f"{archive} cannot be read: {error}") from None
    return content


def main() -> None:
    """Fetch all releases into a folder, and print how each is started, or why it is left out."""
    folder = Path(sys.argv[1])
    for release in RELEASES:
        try:
            command = fetch(release, folder)
            print(f"{version_of(command)}: {command}", flush=True)
        except Unavailable as reason:
            print(f"{release.name} is left out: {reason}", flush=True)


if __name__ == "__main__":
    main()
