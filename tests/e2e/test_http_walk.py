"""Every request of the protocol's HTTP table, once, to a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evanesce.cli.schema import FORMATS
from tests.e2e.running import Server

NOWHERE = "00000000-0000-4000-8000-000000000000"


def test_sessions(server: Server) -> None:
    account = server.sign_in("Ana")
    assert set(account) == {"token", "tokenExpiresAt", "userId", "displayName"}
    status, renewed = server.ask("POST", "/api/v1/session/refresh", token=account["token"])
    assert status == 200
    assert set(renewed) == {"token", "tokenExpiresAt"}
    assert server.ask("DELETE", "/api/v1/session", token=renewed["token"]) == (204, b"")
    for token in (account["token"], renewed["token"]):
        status, error = server.ask("GET", "/api/v1/me", token=token)
        assert (status, error["code"]) == (401, "invalid_token")


def test_profile(server: Server) -> None:
    account = server.sign_in("Ana")
    token = account["token"]
    status, profile = server.ask("GET", "/api/v1/me", token=token)
    assert status == 200
    assert (profile["userId"], profile["displayName"]) == (account["userId"], "Ana")
    assert "type" not in profile
    status, changed = server.ask("PATCH", "/api/v1/me", {"displayName": "آنا", "email": "ana@example.org"}, token=token)
    assert (status, changed["displayName"], changed["email"]) == (200, "آنا", "ana@example.org")
    status, changed = server.ask("PATCH", "/api/v1/me", {"email": None}, token=token)
    assert (status, "email" in changed) == (200, False)
    assert server.ask("PATCH", "/api/v1/me", token=token) == (200, changed), "a change of nothing"
    status, error = server.ask("PATCH", "/api/v1/me", {"email": 7}, token=token)
    assert (status, error["code"], error["field"]) == (400, "bad_request", "email")
    assert server.ask("DELETE", "/api/v1/me", token=token) == (204, b"")
    assert server.ask("GET", "/api/v1/me", token=token)[0] == 401


def test_rooms(server: Server) -> None:
    token = server.sign_in("Ana")["token"]
    room = server.open_room(token)
    room_id = room["roomId"]
    assert room["deepLink"] == f"{server.url}/r/{room_id}"
    assert (room["active"], room["memberCount"]) == (False, 0)
    assert server.ask("GET", f"/api/v1/rooms/{room_id}", token=token) == (200, room)
    assert server.ask("GET", "/api/v1/rooms", token=token) == (200, {"rooms": [room]})
    status, error = server.ask("DELETE", f"/api/v1/rooms/{room_id}", token=server.sign_in("Ben")["token"])
    assert (status, error["code"]) == (403, "forbidden")
    assert server.ask("DELETE", f"/api/v1/rooms/{room_id}", token=token) == (204, b"")
    for method in ("GET", "DELETE"):
        status, error = server.ask(method, f"/api/v1/rooms/{room_id}", token=token)
        assert (status, error["code"]) == (404, "room_not_found")
    assert server.ask("GET", "/api/v1/rooms", token=token) == (200, {"rooms": []})
    status, error = server.ask("GET", "/api/v1/rooms/nonsense", token=token)
    assert (status, error["code"], error["field"]) == (400, "bad_request", "roomId")
    status, error = server.ask("GET", "/api/v1/rooms?after=nonsense", token=token)
    assert (status, error["code"], error["field"]) == (400, "bad_request", "after")


def test_rules_of_rooms(server: Server) -> None:
    ana, ben = server.sign_in("Ana"), server.sign_in("Ben")
    options = {"messageTtl": 5, "access": "invite", "encrypted": True}
    status, room = server.ask("POST", "/api/v1/rooms", options, token=ana["token"])
    assert (status, room) == (201, {**room, **options, "locked": False})
    own = f"/api/v1/rooms/{room['roomId']}"

    def ask(method: str, path: str, body: object = None, token: str = ana["token"]) -> tuple[int, Any]:
        return server.ask(method, own + path, body, token=token)

    assert ask("PATCH", "", {"locked": True}) == (200, room | {"locked": True})
    assert ask("PATCH", "") == (200, room | {"locked": True})
    status, error = ask("PATCH", "", {"locked": False}, token=ben["token"])
    assert (status, error["code"]) == (403, "forbidden")
    status, error = ask("PATCH", "", {"messageTtl": 86_401})
    assert (status, error["code"], error["field"]) == (400, "bad_request", "messageTtl")

    status, invite = ask("POST", "/invites", {"people": 3.0})
    assert json.dumps(invite["people"]) == "3"
    link, _, secret = invite.pop("link").partition("#invite=")
    assert (status, link, len(secret)) == (201, room["deepLink"], 22)
    assert ask("GET", "/invites") == (200, {"roomId": room["roomId"], "invites": [invite]})
    assert ask("DELETE", f"/invites/{invite['inviteId']}") == (204, b"")
    assert ask("GET", "/invites") == (200, {"roomId": room["roomId"], "invites": []})

    assert ask("DELETE", f"/members/{ben['userId']}?banSeconds=60") == (204, b"")
    status, listed = ask("GET", "/bans")
    assert (status, [ban["userId"] for ban in listed["bans"]]) == (200, [ben["userId"]])
    assert ask("DELETE", f"/bans/{ben['userId']}") == (204, b"")
    assert ask("GET", "/bans") == (200, {"roomId": room["roomId"], "bans": []})
    assert ask("PUT", f"/mutes/{ben['userId']}", {"seconds": 60}) == (204, b"")
    status, error = ask("POST", "/votes", {"userId": ana["userId"]}, token=ben["token"])
    assert (status, error["code"]) == (403, "not_member")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/session/refresh"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/api/v1/me"),
        ("PATCH", "/api/v1/me"),
        ("DELETE", "/api/v1/me"),
        ("POST", "/api/v1/rooms"),
        ("GET", "/api/v1/rooms"),
        ("GET", f"/api/v1/rooms/{NOWHERE}"),
        ("DELETE", f"/api/v1/rooms/{NOWHERE}"),
        ("PATCH", f"/api/v1/rooms/{NOWHERE}"),
        ("POST", f"/api/v1/rooms/{NOWHERE}/invites"),
        ("GET", f"/api/v1/rooms/{NOWHERE}/invites"),
        ("DELETE", f"/api/v1/rooms/{NOWHERE}/invites/{NOWHERE}"),
        ("DELETE", f"/api/v1/rooms/{NOWHERE}/members/{NOWHERE}"),
        ("GET", f"/api/v1/rooms/{NOWHERE}/bans"),
        ("DELETE", f"/api/v1/rooms/{NOWHERE}/bans/{NOWHERE}"),
        ("PUT", f"/api/v1/rooms/{NOWHERE}/mutes/{NOWHERE}"),
        ("POST", f"/api/v1/rooms/{NOWHERE}/votes"),
    ],
)
def test_someone_has_to_be_signed_in(shared_server: Server, method: str, path: str) -> None:
    body = {"displayName": "Nobody", "userId": NOWHERE, "seconds": 60} if method in ("PATCH", "PUT", "POST") else None
    status, error = shared_server.ask(method, path, body)
    assert (status, error["code"], error["retry"]) == (401, "unauthenticated", False)
    status, error = shared_server.ask(method, path, body, token="worthless")
    assert (status, error["code"]) == (401, "invalid_token")
    assert "type" not in error
    assert "ref" not in error


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("/api/v1/session", {"provider": "nobody"}, "unknown_provider", None),
        ("/api/v1/session", {"displayName": "Ana"}, "bad_request", "provider"),
        ("/api/v1/session", {"provider": "guest"}, "bad_request", "displayName"),
        ("/api/v1/session", {"provider": "guest", "displayName": " "}, "bad_request", "displayName"),
        ("/api/v1/session", {"provider": "guest", "displayName": "a\u0007"}, "bad_request", "displayName"),
        ("/api/v1/session", b"nonsense", "bad_frame", None),
        ("/api/v1/session", b"[]", "bad_frame", None),
        ("/api/v1/session", b"\xff", "bad_frame", None),
        ("/api/v1/challenge", {"provider": "nobody"}, "unknown_provider", None),
    ],
)
def test_bad_requests(shared_server: Server, path: str, body: object, code: str, field: str | None) -> None:
    status, error = shared_server.ask("POST", path, body)
    assert (status, error["code"], error.get("field")) == (400, code, field)


def test_challenge(shared_server: Server) -> None:
    status, challenge = shared_server.ask("POST", "/api/v1/challenge", {"provider": "guest"})
    assert (status, challenge) == (200, {})


def test_health(server: Server) -> None:
    assert server.ask("GET", "/healthz")[0] == 200
    ready = server.ready()
    assert ready["parts"]["redis"] == "up"
    assert ready["parts"]["database"] == "up"
    status, metrics = server.ask("GET", "/metrics")
    assert status == 200
    assert re.search(rb"^# TYPE evanesce_\w+ \w+$", metrics, re.MULTILINE)
    assert b"# TYPE evanesce_expiry_lag_seconds histogram" in metrics


def test_the_page_and_all_that_it_loads(shared_server: Server) -> None:
    status, page = shared_server.ask("GET", "/")
    assert status == 200
    assert shared_server.ask("GET", f"/r/{NOWHERE}") == (200, page)
    loaded = set(re.findall(r'(?:src|href|content)="(/[^"]+[.][a-z]+)"', page.decode()))
    names = {path.rpartition("/")[2] for path in loaded}
    assert names == {"icon.svg", "manifest.webmanifest", "chat.css", "chat.js", "guest.js"}
    for path in loaded:
        assert shared_server.ask("GET", path)[0] == 200, path


def test_the_page_has_nothing_inline(shared_server: Server) -> None:
    """The Content-Security-Policy has no `'unsafe-inline'`: what is inline would be dead."""
    _, page = shared_server.ask("GET", "/")
    text = page.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://(?!www\.w3\.org)", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert 'type="module"' in text


def test_no_script_makes_markup_of_text() -> None:
    static = Path(__file__).parents[2] / "transports/evanesce_transports/quart/static"
    scripts = list(static.glob("*.js"))
    assert scripts
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), (
            script
        )


def test_answers_are_json(server: Server) -> None:
    status, error = server.ask("POST", "/api/v1/session", json.dumps({"provider": "guest"}).encode())
    assert status == 400
    assert set(error) == {"code", "message", "field", "retry"}


def is_route_of_a_plugin(methods: dict[str, Any]) -> bool:
    return all(method.get("summary") == "A route of a plugin." for method in methods.values())


def test_the_protocol_as_data(serve: Callable[..., Server]) -> None:
    """A server and the command line say the same, of the configuration nothing but the limits."""
    secret = "S3CR3T-correct-horse-battery-staple"
    settings = [f"server.secret={secret}", "messages.content_bytes=1000", 'server.origins=["https://other.example"]']
    server = serve(*settings)
    words = [argument for setting in server.settings for argument in ("--set", setting)]
    for name, path in FORMATS.items():
        status, served = server.ask("GET", f"/api/v1/{path}")
        done = subprocess.run(
            [sys.executable, "-m", "evanesce", "schema", name, *words],
            cwd=server.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for route in [path for path in served.get("paths", ()) if is_route_of_a_plugin(served["paths"][path])]:
            del served["paths"][route]  # the command line runs no plugins
        assert (status, served) == (200, json.loads(done.stdout))
        assert served.get("info", served)["x-limits"]["contentBytes"] == 1000
        for private in (secret, "other.example", "127.0.0.1", str(server.folder)):
            assert private not in done.stdout
