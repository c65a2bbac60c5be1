"""nginx, Caddy and HAProxy as child processes, with the configurations of docs/how-to/proxies."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from tests.patience import PATIENCE
from tests.ports import free_port

FILES = Path(__file__).parents[2] / "docs/how-to/proxies"
TIMEOUT = "3s"
"""How long the proxies wait for data, in place of the time in the files."""


def require(*programs: str) -> None:
    """Skip the test if one of the programs is not installed, but fail in CI."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    for program in programs:
        if shutil.which(program, path=path) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{program} is not installed, and in CI this is not skipped")
            pytest.skip(f"{program} is not installed")


class RealProxy:
    """A proxy for a server on a Unix socket, with TLS on a port of 127.0.0.1. `with` runs it.

    `file` is the name of its configuration, in which `changes` are made as well as those of ports, paths and times.
    Everything that it writes is in `folder`. `certificate` is a PEM file with the key.
    """

    def __init__(
        self, file: str, folder: Path, server: Path, certificate: Path, changes: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir()
        self.file = file
        self.port = free_port()
        self._folder = folder
        text = (FILES / file).read_text("utf-8")
        own = self._own_changes()
        general = {
            "/run/evanesce/chat.sock": str(server),
            "/etc/ssl/evanesce/chat.pem": str(certificate),
            "60s": TIMEOUT,
        }
        for old, new in {**own, **(changes or {})}.items():
            assert old in text, f"{file} has no {old!r}"
            text = text.replace(old, new)
        for old, new in general.items():
            text = text.replace(old, new)
        (folder / file).write_text(text.replace("CERTIFICATE", str(certificate)), "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def _own_changes(self) -> dict[str, str]:
        if self.file == "nginx.conf":
            return {"listen 443": f"listen 127.0.0.1:{self.port}", "/var/log/nginx": str(self._folder)}
        if self.file == "Caddyfile":
            return {
                "{\n\t# The": f"{{\n\tadmin off\n\thttp_port {free_port()}\n\t# The",
                "chat.example.org {": f"https://127.0.0.1:{self.port} {{\n\ttls CERTIFICATE CERTIFICATE",
                "/var/log/caddy": str(self._folder),
            }
        return {"/dev/log local0": "stdout format raw local0", "bind :443": f"bind 127.0.0.1:{self.port}"}

    def _command(self) -> Sequence[str]:
        file = self._folder / self.file
        if self.file == "Caddyfile":
            return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
        if self.file != "nginx.conf":
            return ["haproxy", "-db", "-f", str(file)]
        main = self._folder / "main.conf"
        paths = "".join(
            f"{name}_temp_path {self._folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        main.write_text(
            f"{user} daemon off; worker_processes 1; pid {self._folder}/pid; error_log {self._folder}/main.log;"
            f" events {{}} http {{ access_log off; {paths} include {file}; }}"
        )
        return ["nginx", "-c", str(main), "-p", str(self._folder), "-e", str(self._folder / "start.log")]

    def logs(self) -> str:
        """Return everything that it has logged."""
        own = {self._folder / self.file, self._folder / "main.conf"}
        files = [file for file in self._folder.rglob("*") if file.is_file() and file not in own]
        return "\n".join(file.read_text("utf-8", "replace") for file in files)

    def __enter__(self) -> RealProxy:
        environment = os.environ | {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
            **{name: str(self._folder / "home") for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")},
        }
        with (self._folder / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
            except ConnectionRefusedError:
                running = self._process.poll() is None and time.monotonic() < deadline
                assert running, f"{self.file} does not start:\n{self.logs()}"
                time.sleep(0.05)  # nothing tells of it
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def exchange(self, context: ssl.SSLContext, source: str, request: bytes) -> tuple[int, ssl.SSLSocket]:
        """Send a request from an address of this machine; return the status, and the connection. 0: it was closed."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE, source_address=(source, 0))
        try:
            tls = context.wrap_socket(connection, server_hostname="127.0.0.1")
        except OSError:
            connection.close()
            raise
        tls.sendall(request)
        answer = tls.recv(12)
        return int(answer.split()[1]) if answer else 0, tls
