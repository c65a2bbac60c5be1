"""Strangers at a real server: by which host, from where, and how much of the machine their requests take."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]

GUEST = {"provider": "guest", "displayName": "Eve"}
MIB = 1024 * 1024


def resident(pid: int) -> int:
    """Return how much memory a process has in use, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def upgrade(server: Server, **headers: str) -> tuple[int, bytes]:
    """Ask for a WebSocket from the address `source`; give the status and the body, where it is refused."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(
            "GET",
            "/ws",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        response = connection.getresponse()
        return response.status, b"" if response.status == 101 else response.read()
    finally:
        connection.close()


# Hosts: a page whose name was pointed to this machine


def test_a_rebinding_page_gets_nothing(serve: Serve) -> None:
    server = serve()
    for host in (f"evil.example:{server.port}", "evil.example", f"127.0.0.1.evil.example:{server.port}", "192.0.2.9"):
        for method, path, body in [
            ("POST", "/api/v1/session", GUEST),
            ("POST", "/api/v1/rooms", None),
            ("GET", "/metrics", None),
            ("GET", "/", None),
            ("GET", "/service-worker.js", None),
        ]:
            status, answer = server.ask(method, path, body, headers={"Host": host})
            assert status == 421, (host, path)
            assert "server.public_url" in answer["message"]
            assert host not in answer["message"]
    for host in (f"localhost:{server.port}", "localhost", "127.0.0.1", f"[::1]:{server.port}", "LOCALHOST."):
        assert server.ask("GET", "/metrics", headers={"Host": host})[0] == 200, host
    assert server.ask("GET", "/readyz", headers={"Host": "192.0.2.9:8000"})[0] == 200, "a probe by address"
    assert server.ask("GET", "/healthz", headers={"Host": "evil.example"})[0] == 421


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_hosts_of_a_websocket(serve: Serve, transport: str) -> None:
    server = serve('server.origins=["https://bücher.example"]', transports=(transport,))
    assert upgrade(server, Host="xn--bcher-kva.example")[0] == 101
    assert upgrade(server, Host=f"localhost:{server.port}")[0] == 101
    status, body = upgrade(server, Host="evil.example", Origin=server.url)
    assert status == 421
    assert json.loads(body)["code"] == "forbidden"


# Locality: guests and metrics


@pytest.mark.parametrize(
    "sign", [{"Forwarded": "for=127.0.0.1"}, {"Via": "1.1 p"}, {"X-Real-IP": "127.0.0.1"}, {"X-Forwarded-For": "::1"}]
)
def test_who_comes_through_a_proxy_is_no_guest_and_reads_no_metrics(serve: Serve, sign: dict[str, str]) -> None:
    server = serve()
    assert server.ask("POST", "/api/v1/session", GUEST)[0] == 201
    status, answer = server.ask("POST", "/api/v1/session", GUEST, headers=sign)
    assert (status, answer["code"]) == (403, "forbidden")
    assert "plugins.guest" in answer["message"]
    assert server.ask("POST", "/api/v1/challenge", {"provider": "guest"}, headers=sign)[0] == 403
    assert server.ask("GET", "/metrics", headers=sign)[0] == 403


def test_a_trusted_proxy_says_who_is_local(serve: Serve) -> None:
    server = serve('plugins.quart.trusted_proxies=["127.0.0.0/8"]')
    local = {"X-Forwarded-For": "127.0.0.1", "Via": "1.1 p", "X-Real-IP": "127.0.0.1"}
    assert server.ask("POST", "/api/v1/session", GUEST, headers=local)[0] == 201
    assert server.ask("GET", "/metrics", headers=local)[0] == 200
    away = {"X-Forwarded-For": "203.0.113.9"}
    assert server.ask("POST", "/api/v1/session", GUEST, headers=away)[0] == 403
    assert server.ask("GET", "/metrics", headers=away)[0] == 403


# What an address may use


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stranger_who_hammers_is_refused_with_429(serve: Serve, transport: str) -> None:
    server = serve("limits.handshakes_per_second=2", "limits.exempt_addresses=[]", transports=(transport,))
    assert [upgrade(server)[0] for _ in range(4)] == [101] * 4
    answers = (upgrade(server) for _ in range(100))  # more than two a second, on any machine
    status, body = next(answer for answer in answers if answer[0] != 101)
    assert status == 429
    assert json.loads(body)["code"] == "rate_limited"
    time.sleep(1)
    assert upgrade(server)[0] == 101


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_address_has_so_many_connections(serve: Serve, transport: str) -> None:
    server = serve(
        "limits.connections_per_address=5",
        "limits.handshakes_per_second=1000",
        'limits.exempt_addresses=["127.0.0.2"]',
        transports=(transport,),
    )
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert upgrade(server)[0] == 429, "they are accepted in the order in which they came"
    deadline = time.monotonic() + PATIENCE
    while upgrade(server)[0] != 101:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # nothing tells when the server has noticed


# Bodies


def test_2000_unfinished_bodies_take_little_memory(serve: Serve) -> None:
    server = serve()
    server.sign_in("Ana")
    assert server.process is not None
    before = resident(server.process.pid)
    with ExitStack() as stack:
        body = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n" + b" " * 65_000
        for _ in range(2_000):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            sock.setblocking(False)
            sock.send(body)
        most = 0
        ended = time.monotonic() + 4
        while time.monotonic() < ended:
            most = max(most, resident(server.process.pid) - before)
            time.sleep(0.05)
    assert most < 80 * MIB, f"{most / MIB:.0f} MiB"
    while server.ask("POST", "/api/v1/session", GUEST)[0] != 201:  # nothing tells when the server has noticed
        assert time.monotonic() < ended + PATIENCE, "there is no room again"


# What a deployer may have to set is told once


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_is_refused_for_a_setting_is_logged_once_with_the_setting(serve: Serve, transport: str) -> None:
    server = serve(transports=(transport,))
    for _ in range(3):
        assert upgrade(server, Host="chat.example")[0] == 421
        assert upgrade(server, Origin="https://page.example")[0] == 403
        assert upgrade(server, X_Forwarded_For="192.0.2.9")[0] == 101
    for number in range(100):
        assert upgrade(server, Host=f"made-up-{number}.example")[0] == 421
    logged = server.errors.splitlines()
    for value, setting in (
        ("the host chat.example ", "server.public_url"),
        ("the origin https://page.example ", "server.origins"),
        ("X-Forwarded-For from 127.0.0.1 ", f"plugins.{transport}.trusted_proxies"),
    ):
        [line] = [line for line in logged if value in line]
        assert setting in line
        assert "WARNING" in line
    assert 5 < sum("made-up" in line for line in logged) < 30, "a flood is not logged"


def test_what_is_admitted_is_not_logged(serve: Serve) -> None:
    server = serve('plugins.quart.trusted_proxies=["127.0.0.1"]')
    assert upgrade(server, Origin=server.url, X_Forwarded_For="127.0.0.1")[0] == 101
    assert server.ask("GET", "/readyz", headers={"Host": "192.0.2.9:8000"})[0] == 200
    warnings = [line for line in server.errors.splitlines() if "WARNING" in line and "runs as root" not in line]
    assert warnings == []
