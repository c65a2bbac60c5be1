"""The peers' software, fetched from its registries at run time, into a folder that is thrown away; versions pinned."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

NPM = {"socket.io": "4.8.4", "@socket.io/redis-adapter": "8.3.0", "redis": "5.8.2"}

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

SERVERS = Path(__file__).parent / "servers"


class Peers:
    """Where the peers are: `folder` is the caller's, and what is in it already is not fetched again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def python(self) -> str:
        """Return a Python that has the peers from PyPI."""
        folder = self._folder / "python"
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            wanted = [f"{name}=={version}" for name, version in PYPI.items()]
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted])
            (folder / "complete").touch()
        return str(folder / "bin" / "python")

    def node(self) -> list[str]:
        """Return the command that runs the Node server with the peers from npm."""
        folder = self._folder / "node"
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            wanted = [f"{name}@{version}" for name, version in NPM.items()]
            _run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), *wanted])
            (folder / "complete").touch()
        script = folder / "socketio_node.js"  # beside node_modules, where Node looks for what it needs
        shutil.copy(SERVERS / script.name, script)
        return ["node", str(script)]

    @staticmethod
    def own_python() -> str:
        """Return the Python that Evanesce is installed in."""
        return sys.executable


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
