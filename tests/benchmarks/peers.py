"""The peers' software, fetched at run time by the tools of its language, into a folder; versions pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

NPM = {"socket.io": "4.8.4", "@socket.io/redis-adapter": "8.3.0", "redis": "5.8.2", "ws": "8.23.0"}

PYPI = {
    "python-socketio": "5.18.1",
    "uvicorn": "0.54.0",
    "uvloop": "0.23.0",
    "httptools": "0.9.0",
    "websockets": "16.0",
    "redis": "8.1.0",
    "hiredis": "3.5.0",
    "picows": "2.3.1",
}

GO = {
    "centrifugo": "github.com/centrifugal/centrifugo/v6@v6.9.1",
    "nats-server": "github.com/nats-io/nats-server/v2@v2.15.3",
}

DEBIAN = {
    "ejabberd": {"ejabberd": "23.01-1"},
    # nginx without Debian's own revision: only the latest of them can be had.
    "nchan": {"nginx": "1.22.1-*", "libnginx-mod-nchan": "1:1.3.6+dfsg-2"},
}

SERVERS = Path(__file__).parent / "servers"

FETCH_SECONDS = 1800.0
"""How long one command of those that fetch or compile a peer may take."""


class Peers:
    """Where the peers are: `folder` is the caller's, and what is in it already is not fetched again.

    Each method raises `RuntimeError` if its peer cannot be had on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def python(self) -> str:
        """Return a Python that has the peers from PyPI."""
        folder = self._folder / "python"
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            wanted = [f"{name}=={version}" for name, version in PYPI.items()]
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--no-cache-dir", "--quiet", *wanted])
            (folder / "complete").touch()
        return str(folder / "bin" / "python")

    def node(self, server: str) -> list[str]:
        """Return the command that runs one of the Node servers with the peers from npm."""
        folder = self._folder / "node"
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            wanted = [f"{name}@{version}" for name, version in NPM.items()]
            options = ["--no-audit", "--no-fund", "--silent", "--cache", str(folder / "cache"), "--prefix", str(folder)]
            _run(["npm", "install", *options, *wanted])
            (folder / "complete").touch()
        script = folder / server  # beside node_modules, where Node looks for what it needs
        shutil.copy(SERVERS / server, script)
        return ["node", str(script)]

    def go(self, name: str) -> str:
        """Return the path of a program that Go compiles."""
        folder = self._folder / "go"
        if not (folder / name).exists():
            _run(
                ["go", "install", GO[name]],
                GOBIN=str(folder),
                GOPATH=str(folder / "path"),
                GOMODCACHE=str(folder / "modules"),
                GOCACHE=str(folder / "cache"),
                GOFLAGS="-modcacherw",  # without it modules are read-only, and the folder cannot be deleted
            )
        return str(folder / name)

    def debian(self, name: str) -> Path:
        """Return a folder with the files of Debian packages, which are unpacked there and not installed."""
        folder = self._folder / name
        if not (folder / "complete").exists():
            packages = folder / "packages"
            (packages / "partial").mkdir(parents=True, exist_ok=True)
            wanted = [f"{package}={version}" for package, version in DEBIAN[name].items()]
            options = ["--download-only", "--reinstall", "--no-install-recommends", "--yes", "--quiet=2"]
            place = ["-o", f"Dir::Cache::archives={packages}", "-o", "Debug::NoLocking=1"]
            _run(["apt-get", "install", *options, *place, *wanted])
            for package in sorted(packages.glob("*.deb")):
                _run(["dpkg-deb", "--extract", str(package), str(folder)])
            (folder / "complete").touch()
        return folder

    @staticmethod
    def own_python() -> str:
        """Return the Python that Evanesce is installed in."""
        return sys.executable


def _run(command: list[str], **environment: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
            timeout=FETCH_SECONDS,
        )
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} did not end within {FETCH_SECONDS:.0f} s") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
