"""Whoever is no operator, and whatever is no request, gets nothing: and the audit log tells of it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from evanesce.admin import http, listener
from evanesce.admin.access import REFUSALS_AT_ONCE
from evanesce.errors import ConfigurationError
from evanesce.testing.server import TestServer, memory_server
from tests.core.admin.parts import TOKEN, Interface, interface

LOG = "evanesce.admin.audit_log"
STATS = "/admin/v1/stats"
LONG = "x" * 20_000


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async with memory_server() as server:
        yield server


@pytest.fixture
async def operators(server: TestServer) -> AsyncIterator[Interface]:
    async with interface(server) as operators:
        yield operators


OLD, NEW = "o" * 40, "n" * 40


@pytest.mark.parametrize(
    ("tokens", "accepted"),
    [((OLD,), [200, 401]), ((NEW, OLD), [200, 200]), ((OLD, NEW), [200, 200]), ((NEW,), [401, 200])],
)
async def test_each_token_of_a_list_is_an_operators_and_no_other(
    server: TestServer, tokens: tuple[str, ...], accepted: list[int]
) -> None:
    async with interface(server, tokens=tokens) as operators:
        headers = [{"Authorization": f"Bearer {token}"} for token in (OLD, NEW, OLD + NEW, TOKEN)]
        statuses = [(await operators.ask("GET", STATS, headers=one))[0] for one in headers]
    assert statuses == [*accepted, 401, 401]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8002"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"Authorization": ""}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": "Bearer \xe9"}, 401),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "127.0.0.1.rebound.example"}, 421),
        ({"Host": ""}, 400),
        ({"Origin": "http://127.0.0.1:8002"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
async def test_only_a_request_of_an_operator_is_carried_out(
    operators: Interface, headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOG)
    found, answer = await operators.ask("GET", STATS, headers=headers)
    assert found == status
    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert len(lines) == (status != 200)
    assert all(line.startswith(f"token from 127.0.0.1: refused: {status}") for line in lines)
    assert TOKEN not in caplog.text
    assert (status == 200) == ("servers" in answer)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/admin/v1/nothing", None, 404),
        ("GET", "/admin/v1/rooms/../stats", None, 404),
        ("OPTIONS", STATS, None, 405),
        ("POST", STATS, {}, 405),
        ("GET", STATS, {}, 400),
        ("GET", f"{STATS}?x=1", None, 400),
        ("GET", f"{STATS}?x", None, 400),
        ("GET", "/admin/v1/rooms?limit=0", None, 400),
        ("GET", "/admin/v1/rooms?limit=201", None, 400),
        ("GET", "/admin/v1/rooms?limit=1&limit=2", None, 400),
        ("GET", "/admin/v1/rooms?limit=x", None, 400),
        ("GET", f"/admin/v1/rooms?after={'x' * 65}", None, 400),
        ("GET", "/admin/v1/users/%FF", None, 400),
        ("GET", f"/admin/v1/users/{'x' * 301}", None, 400),
        ("PUT", "/admin/v1/users/x/ban", b"[]", 400),
        ("PUT", "/admin/v1/users/x/ban", b"{", 400),
        ("PUT", "/admin/v1/users/x/ban", b"\xff", 400),
        ("PUT", "/admin/v1/users/x/ban", b"[" * 5_000, 400),
        ("PUT", "/admin/v1/users/x/ban", {"seconds": "60"}, 400),
        ("PUT", "/admin/v1/users/x/ban", {"seconds": 0}, 400),
        ("PUT", "/admin/v1/users/x/ban", {"user": "y"}, 400),
        ("PUT", "/admin/v1/users/x/ban", {"other": 1}, 400),
        ("PUT", "/admin/v1/users/x/ban", {"reason": "x" * 201}, 400),
        ("POST", "/admin/v1/announce", {}, 400),
        ("POST", "/admin/v1/announce", {"text": ""}, 400),
        ("POST", "/admin/v1/announce", {"text": "x" * 4_097}, 400),
        ("POST", "/admin/v1/announce", {"text": LONG}, 413),
        ("GET", f"/admin/v1/{LONG}", None, 431),
    ],
)
async def test_what_is_no_request_is_refused_with_a_reason(
    operators: Interface, method: str, path: str, body: object, status: int
) -> None:
    found, answer = await operators.ask(method, path, body)
    assert (found, bool(answer["message"])) == (status, True)
    assert (await operators.ask("GET", STATS))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    ],
)
async def test_broken_http_gets_an_error_and_harms_nobody(operators: Interface, data: bytes) -> None:
    assert (await operators.raw(data)).startswith(b"HTTP/1.1 4")
    assert (await operators.ask("GET", STATS))[0] == 200


async def test_a_client_that_sends_nothing_or_too_slowly_is_closed(
    operators: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.05)
    for data in (b"", b"GET / HT", b"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{"):
        assert await operators.raw(data) == b""


async def test_guessing_tokens_is_slow_and_cannot_fill_the_log(
    operators: Interface, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = [
        (await operators.ask("GET", STATS, headers={"Authorization": f"Bearer {number}"}))[0]
        for number in range(REFUSALS_AT_ONCE + 20)
    ]
    assert set(statuses) == {401, 429}
    logged = [record for record in caplog.records if record.name == LOG]
    assert len(logged) == statuses.count(401) < len(statuses)
    assert (await operators.ask("GET", STATS))[0] == 200, "an operator is not locked out"


async def test_every_act_is_in_the_audit_log_without_texts(
    server: TestServer, operators: Interface, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOG)
    await operators.ask("GET", STATS)
    await operators.ask("PUT", "/admin/v1/users/name%3AEve%0A2026/ban", {"reason": "a secret reason"})
    await operators.ask("POST", "/admin/v1/announce", {"text": "a secret text"})
    await operators.ask("DELETE", "/admin/v1/users/nobody/ban")
    assert [record.getMessage() for record in caplog.records if record.name == LOG] == [
        "token from 127.0.0.1: ban user=name:Eve\\n2026: done",
        "token from 127.0.0.1: announce: done",
        "token from 127.0.0.1: unban user=nobody: 400 bad_request",
    ]
    assert "secret" not in caplog.text


async def test_a_unix_socket_is_for_its_user_alone_and_names_who_asks(
    server: TestServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOG)
    path = tmp_path / "admin.sock"
    async with interface(server, f"unix:{path}") as operators:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await operators.ask("GET", STATS, headers={"Host": "anything"}))[0] == 200
        assert (await operators.ask("GET", STATS, headers={"Authorization": ""}))[0] == 401
        await operators.ask("DELETE", "/admin/v1/users/name%3AEve/ban")
        with pytest.raises(ConfigurationError, match="in use"):
            async with listener.open_admin_sockets(f"unix:{path}"):
                pass
        assert (await operators.ask("GET", STATS))[0] == 200
    who = f"user {os.getuid()} in process {os.getpid()}"
    assert [record.getMessage() for record in caplog.records if record.name == LOG] == [
        f"{who}: refused: 401 This needs the token of admin.token.",
        f"{who}: unban user=name:Eve: done",
    ]
    assert os.listdir(tmp_path) == []


async def test_the_socket_of_a_server_that_was_killed_is_replaced_and_other_files_are_not(
    server: TestServer, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    async with interface(server, f"unix:{path}") as operators:
        assert (await operators.ask("GET", STATS))[0] == 200
    path.write_text("kept")
    with pytest.raises(ConfigurationError, match="something else"):
        async with listener.open_admin_sockets(f"unix:{path}"):
            pass
    assert path.read_text() == "kept"
    assert os.listdir(tmp_path) == ["admin.sock"]


async def test_many_silent_clients_keep_no_operator_away(operators: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * listener.AT_ONCE):
            nursery.start_soon(operators.raw, b"GET")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await operators.ask("GET", STATS))[0] == 200
