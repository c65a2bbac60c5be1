"""The protocol's HTTP table, errors, probes, cross-origin requests and plugins' routes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evanesce.errors import BadRequest, CommandError, ErrorCode, Rejected, StoreUnavailable
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Readiness
from evanesce.model import Access
from evanesce.protocol.commands import (
    Challenge,
    CloseRoom,
    CreateInvite,
    CreateRoom,
    ForgetMe,
    GetProfile,
    GetRoom,
    ListBans,
    ListInvites,
    ListRooms,
    Mute,
    Refresh,
    RemoveMember,
    RevokeInvite,
    SignOut,
    Unban,
    UpdateProfile,
    UpdateRoom,
    VoteRemove,
)
from evanesce.protocol.events import (
    BanInfo,
    BansReply,
    ChallengeReply,
    InviteInfo,
    InviteReply,
    InvitesReply,
    ProfileReply,
    RoomReply,
    RoomsReply,
    TokenReply,
    VoteReply,
)
from evanesce_transports.quart.app import build as application_of
from evanesce_transports.quart.responses import API_PREFIX
from tests.transports.serving import NOW, ORIGIN, QUART, FakeGateway, Listening, build, listening, upgrade_request

ROOM = "00000000-0000-4000-8000-000000000001"
ID = "00000000-0000-4000-8000-000000000002"
LINK = f"http://x/r/{ROOM}#invite=s"


class Answer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(server: Listening, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    lines = {"Host": "x", "Connection": "close", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Answer(await server.exchange(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")))


@pytest.fixture
def gateway(gateway: FakeGateway) -> FakeGateway:
    room = RoomReply(
        room_id=ROOM,
        created_by="u",
        created_at=NOW,
        deep_link=f"http://x/r/{ROOM}",
        active=False,
        member_count=0,
        message_ttl=60,
        access=Access.LINK,
        locked=False,
        encrypted=False,
    )
    invite = InviteReply(room_id=ROOM, invite_id=ID, link=LINK, people=2, left=2, expires_at=NOW)
    live = InviteInfo(room_id=ROOM, invite_id=ID, people=2, left=1, expires_at=NOW)
    gateway.replies = {
        Challenge: ChallengeReply(fields={"nonce": "n"}),
        Refresh: TokenReply(token="T2", token_expires_at=NOW),
        GetProfile: ProfileReply(user_id="u", display_name="Ada", created_at=NOW),
        UpdateProfile: ProfileReply(user_id="u", display_name="Eve", created_at=NOW),
        CreateRoom: room,
        GetRoom: room,
        ListRooms: RoomsReply(rooms=[room], next="n"),
        UpdateRoom: room,
        CreateInvite: invite,
        ListInvites: InvitesReply(room_id=ROOM, invites=[live]),
        ListBans: BansReply(room_id=ROOM, bans=[BanInfo(user_id=ID, display_name="Eve", until=NOW)]),
        VoteRemove: VoteReply(room_id=ROOM, user_id=ID, votes=1, needed=2, expires_at=NOW),
    }
    return gateway


ROOM_JSON = {
    "roomId": ROOM,
    "createdBy": "u",
    "createdAt": NOW,
    "deepLink": f"http://x/r/{ROOM}",
    "active": False,
    "memberCount": 0,
    "messageTtl": 60,
    "access": "link",
    "locked": False,
    "encrypted": False,
}
INVITE_JSON = {"roomId": ROOM, "inviteId": ID, "people": 2, "left": 2, "expiresAt": NOW}
OWN = f"/api/v1/rooms/{ROOM}"


@pytest.mark.parametrize(
    ("method", "path", "body", "command", "status", "answer"),
    [
        (
            "POST",
            "/api/v1/challenge",
            b'{"provider":"p","x":{"y":[1]},"ref":7}',
            Challenge(provider="p", request={"x": {"y": [1]}}),
            200,
            {"nonce": "n"},
        ),
        ("POST", "/api/v1/session/refresh", None, Refresh(), 200, {"token": "T2", "tokenExpiresAt": NOW}),
        ("DELETE", "/api/v1/session", None, SignOut(), 204, None),
        ("GET", "/api/v1/me", None, GetProfile(), 200, {"userId": "u", "displayName": "Ada", "createdAt": NOW}),
        (
            "PATCH",
            "/api/v1/me",
            b'{"displayName":"Eve","email":null}',
            UpdateProfile(display_name="Eve", email=None),
            200,
            {"userId": "u", "displayName": "Eve", "createdAt": NOW},
        ),
        ("DELETE", "/api/v1/me", None, ForgetMe(), 204, None),
        ("POST", "/api/v1/rooms", b"{}", CreateRoom(), 201, ROOM_JSON),
        ("POST", "/api/v1/rooms", None, CreateRoom(), 201, ROOM_JSON),
        (
            "POST",
            "/api/v1/rooms",
            b'{"messageTtl":5,"access":"invite","encrypted":true}',
            CreateRoom(message_ttl=5, access=Access.INVITE, encrypted=True),
            201,
            ROOM_JSON,
        ),
        ("GET", "/api/v1/rooms", None, ListRooms(), 200, {"rooms": [ROOM_JSON], "next": "n"}),
        ("GET", "/api/v1/rooms?after=a%20b", None, ListRooms(after="a b"), 200, {"rooms": [ROOM_JSON], "next": "n"}),
        ("GET", f"/api/v1/rooms/{ROOM}", None, GetRoom(room_id=ROOM), 200, ROOM_JSON),
        ("DELETE", f"/api/v1/rooms/{ROOM}", None, CloseRoom(room_id=ROOM), 204, None),
        ("PATCH", OWN, b"{}", UpdateRoom(room_id=ROOM), 200, ROOM_JSON),
        ("PATCH", OWN, b"", UpdateRoom(room_id=ROOM), 200, ROOM_JSON),
        (
            "PATCH",
            OWN,
            b'{"messageTtl":0.5,"access":"link","locked":true,"roomId":"another"}',
            UpdateRoom(room_id=ROOM, message_ttl=0.5, access=Access.LINK, locked=True),
            200,
            ROOM_JSON,
        ),
        ("POST", f"{OWN}/invites", None, CreateInvite(room_id=ROOM), 201, {**INVITE_JSON, "link": LINK}),
        (
            "POST",
            f"{OWN}/invites",
            b'{"people":2,"seconds":60}',
            CreateInvite(room_id=ROOM, people=2, seconds=60),
            201,
            {**INVITE_JSON, "link": LINK},
        ),
        (
            "GET",
            f"{OWN}/invites",
            None,
            ListInvites(room_id=ROOM),
            200,
            {"roomId": ROOM, "invites": [{**INVITE_JSON, "left": 1}]},
        ),
        ("DELETE", f"{OWN}/invites/{ID}", None, RevokeInvite(room_id=ROOM, invite_id=ID), 204, None),
        ("DELETE", f"{OWN}/members/{ID}", None, RemoveMember(room_id=ROOM, user_id=ID), 204, None),
        (
            "DELETE",
            f"{OWN}/members/{ID}?banSeconds=1.5",
            None,
            RemoveMember(room_id=ROOM, user_id=ID, ban_seconds=1.5),
            204,
            None,
        ),
        (
            "GET",
            f"{OWN}/bans",
            None,
            ListBans(room_id=ROOM),
            200,
            {"roomId": ROOM, "bans": [{"userId": ID, "displayName": "Eve", "until": NOW}]},
        ),
        (
            "GET",
            f"{OWN}/bans?after=x&other=y",
            None,
            ListBans(room_id=ROOM, after="x"),
            200,
            {"roomId": ROOM, "bans": [{"userId": ID, "displayName": "Eve", "until": NOW}]},
        ),
        ("DELETE", f"{OWN}/bans/{ID}", None, Unban(room_id=ROOM, user_id=ID), 204, None),
        ("PUT", f"{OWN}/mutes/{ID}", b'{"seconds":30}', Mute(room_id=ROOM, user_id=ID, seconds=30), 204, None),
        (
            "POST",
            f"{OWN}/votes",
            f'{{"userId":"{ID}"}}'.encode(),
            VoteRemove(room_id=ROOM, user_id=ID),
            200,
            {"roomId": ROOM, "userId": ID, "votes": 1, "needed": 2, "expiresAt": NOW},
        ),
    ],
)
async def test_the_table(
    server: Listening,
    gateway: FakeGateway,
    method: str,
    path: str,
    body: bytes | None,
    command: Any,
    status: int,
    answer: Any,
) -> None:
    given = await ask(server, method, path, body, Authorization="Bearer abc")
    assert gateway.executed == [(command, "abc", "127.0.0.1")]
    assert given.status == status
    assert (given.json if given.body else None) == answer
    assert given.headers["cache-control"] == "no-store"


async def test_no_content_has_no_type(server: Listening) -> None:
    for method, origin in (("DELETE", ORIGIN), ("OPTIONS", ORIGIN), ("OPTIONS", "https://evil.example")):
        answer = await ask(server, method, "/api/v1/me", Origin=origin)
        assert (answer.status, answer.body) == (204, b"")
        assert not [name for name in answer.headers if name.startswith("content-") and name[8:] in ("type", "length")]


@pytest.mark.parametrize(("created", "status"), [(True, 201), (False, 200)])
async def test_signing_in(server: Listening, gateway: FakeGateway, created: bool, status: int) -> None:
    gateway.created = created
    answer = await ask(server, "POST", "/api/v1/session", b'{"provider":"guest","displayName":"Ada"}')
    assert gateway.credential == {"provider": "guest", "displayName": "Ada"}
    assert answer.status == status
    assert answer.json == {"token": "T", "tokenExpiresAt": NOW, "userId": "u", "displayName": "Ada"}


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/challenge"])
async def test_a_body_nests_as_deep_as_a_frame(server: Listening, gateway: FakeGateway, path: str) -> None:
    def nested(depth: int) -> bytes:
        return b'{"provider":"guest","x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert (await ask(server, "POST", path, nested(32))).status < 300
    answer = await ask(server, "POST", path, nested(33))
    assert (answer.status, answer.json["code"]) == (400, "bad_frame")


async def test_a_wrong_credential_names_the_field_of_the_body(server: Listening, gateway: FakeGateway) -> None:
    gateway.failure = BadRequest("credential.displayName", "A name has 1 to 64 characters.")
    answer = await ask(server, "POST", "/api/v1/session", b'{"provider":"guest"}')
    assert answer.status == 400
    assert answer.json["field"] == "displayName"


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "field"),
    [
        ("POST", "/api/v1/challenge", b"not json", "bad_frame", None),
        ("POST", "/api/v1/challenge", b"", "bad_frame", None),
        ("POST", "/api/v1/challenge", b"[]", "bad_frame", None),
        ("POST", "/api/v1/challenge", b'{"provider":"\xff"}', "bad_frame", None),
        ("POST", "/api/v1/challenge", b'{"x":' + b"[" * 40 + b"]" * 40 + b"}", "bad_frame", None),
        ("POST", "/api/v1/session", b'{"x":' + b"[" * 9000 + b"]" * 9000 + b"}", "bad_frame", None),
        ("POST", "/api/v1/challenge", b"{}", "bad_request", "provider"),
        ("POST", "/api/v1/session", b"{}", "bad_request", "provider"),
        ("POST", "/api/v1/session", b'{"provider":5}', "bad_request", "provider"),
        ("PATCH", "/api/v1/me", b'{"displayName":5}', "bad_request", "displayName"),
        ("GET", "/api/v1/rooms/nonsense", None, "bad_request", "roomId"),
        ("GET", f"/api/v1/rooms?after={'x' * 300}", None, "bad_request", "after"),
        ("POST", "/api/v1/rooms", b"[]", "bad_frame", None),
        ("POST", "/api/v1/rooms", b'{"messageTtl":"long"}', "bad_request", "messageTtl"),
        ("POST", "/api/v1/rooms", b'{"access":"everyone"}', "bad_request", "access"),
        *(
            ("POST", "/api/v1/rooms", b'{"%s":null}' % name.encode(), "bad_request", name)
            for name in ("messageTtl", "access", "encrypted")
        ),
        ("PATCH", OWN, b'{"locked":null}', "bad_request", "locked"),
        ("PATCH", "/api/v1/rooms/nonsense", b"{}", "bad_request", "roomId"),
        ("POST", f"{OWN}/invites", b'{"people":0}', "bad_request", "people"),
        ("DELETE", f"{OWN}/invites/nonsense", None, "bad_request", "inviteId"),
        ("DELETE", f"{OWN}/members/nonsense", None, "bad_request", "userId"),
        *(
            ("DELETE", f"{OWN}/members/{ID}?banSeconds={text}", None, "bad_request", "banSeconds")
            for text in ("", "x", "-1", "NaN", "Infinity", "1e999", "null", "%22%22", "31536001")
        ),
        ("DELETE", f"{OWN}/bans/nonsense", None, "bad_request", "userId"),
        ("PUT", f"{OWN}/mutes/{ID}", b"{}", "bad_request", "seconds"),
        ("PUT", f"{OWN}/mutes/{ID}", b"", "bad_frame", None),
        ("POST", f"{OWN}/votes", b"{}", "bad_request", "userId"),
    ],
)
async def test_bad_input(
    server: Listening, gateway: FakeGateway, method: str, path: str, body: bytes | None, code: str, field: str | None
) -> None:
    answer = await ask(server, method, path, body)
    assert answer.status == 400
    assert (answer.json["code"], answer.json.get("field")) == (code, field)
    assert gateway.executed == []


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_error_has_the_status_of_the_table(
    server: Listening, gateway: FakeGateway, code: ErrorCode
) -> None:
    gateway.failure = CommandError(code, "No.", retry_after=1.2 if code is ErrorCode.RATE_LIMITED else None)
    answer = await ask(server, "GET", "/api/v1/me")
    assert answer.status == code.http_status
    assert answer.json["code"] == code.value
    assert answer.json["retry"] == code.retry
    assert answer.headers.get("retry-after") == ("2" if code is ErrorCode.RATE_LIMITED else None)
    assert "type" not in answer.json


async def test_a_fault_shows_nothing_of_itself(
    gateway: FakeGateway, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUART_DEBUG", "1")
    monkeypatch.setenv("FLASK_DEBUG", "1")
    faults.append("a request failed")
    gateway.failure = RuntimeError("secret")
    async with listening(gateway) as server:
        answer = await ask(server, "GET", "/api/v1/me")
        assert answer.status == 500
        assert answer.json.keys() == {"code", "message", "retry"}
        assert answer.json["code"] == "internal"
        assert b"secret" not in answer.body
        await server.check_alive()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/api/v1/nothing", 404), ("PUT", "/healthz", 405)]
)
async def test_what_is_not_there(server: Listening, method: str, path: str, status: int) -> None:
    answer = await ask(server, method, path)
    assert answer.status == status
    assert answer.json.keys() == {"code", "message", "retry"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("status", "expected"), [("ready", 200), ("degraded", 200), ("unavailable", 503), ("draining", 503)]
)
async def test_probes(server: Listening, gateway: FakeGateway, status: str, expected: int) -> None:
    gateway.status = Readiness(status, {"redis": "up", "database": "down"})
    answer = await ask(server, "GET", "/readyz")
    assert answer.status == expected
    assert answer.json == {"status": status, "parts": {"redis": "up", "database": "down"}}
    assert (await ask(server, "GET", "/healthz")).status == 200


async def test_metrics_are_for_this_machine_unless_configured(server: Listening, gateway: FakeGateway) -> None:
    answer = await ask(server, "GET", "/metrics")
    assert answer.status == 200
    assert answer.body == gateway.metrics().encode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    # Through a proxy that is not trusted, who asks cannot be known.
    assert (await ask(server, "GET", "/metrics", X_Forwarded_For="203.0.113.9")).status == 403
    async with listening(gateway, metrics_public=True) as public:
        assert (await ask(public, "GET", "/metrics", X_Forwarded_For="203.0.113.9")).status == 200


async def test_other_origins(server: Listening) -> None:
    preflight = await ask(server, "OPTIONS", "/api/v1/me", Origin=ORIGIN, Access_Control_Request_Method="PATCH")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = await ask(server, "GET", "/api/v1/me", Origin=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"
    for path in ("/api/v1/me", "/api/v1/nothing"):
        for method in ("OPTIONS", "GET"):
            stranger = await ask(server, method, path, Origin="https://evil.example")
            assert not [name for name in stranger.headers if name.startswith("access-control-")]


async def test_a_fault_in_the_route_of_the_websocket_is_answered(
    gateway: FakeGateway, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(origin: str) -> bool:
        raise RuntimeError(f"secret {origin}")

    monkeypatch.setattr(gateway, "admits_origin", fail)
    faults.append("a request failed")
    async with listening(gateway) as server:
        answer = await server.exchange(upgrade_request(origin="https://chat.example"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'"internal"' in answer
    assert b"secret" not in answer


async def test_plugin_routes(gateway: FakeGateway, faults: list[str]) -> None:
    seen: list[HttpRequest] = []

    async def handle(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        if request.query.get("fail"):
            raise RuntimeError("secret")
        return HttpResponse(b"hi", 202, "text/plain", {"X-Plugin": "yes"})

    gateway.routes = [HttpRoute("POST", "/plugin", handle)]
    async with listening(gateway) as server:
        answer = await ask(server, "POST", "/plugin?a=b", b"body", Authorization="Bearer abc")
        assert (answer.status, answer.body, answer.headers["x-plugin"]) == (202, b"hi", "yes")
        assert answer.headers["content-type"].startswith("text/plain")
        assert (seen[0].method, seen[0].path, seen[0].query, seen[0].body) == ("POST", "/plugin", {"a": "b"}, b"body")
        assert seen[0].user is not None
        assert (await ask(server, "POST", "/plugin", b"", Authorization="Bearer worthless")).status == 401
        assert (await ask(server, "GET", "/plugin")).status == 405
        faults.append("a request failed")
        assert (await ask(server, "POST", "/plugin?fail=1", b"")).json["code"] == "internal"


@pytest.mark.parametrize(
    ("trusted", "address"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")], ids=["no proxy", "proxy"]
)
async def test_a_plugins_route_is_told_the_address_of_the_client(
    gateway: FakeGateway, trusted: tuple[str, ...], address: str
) -> None:
    async def handle(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.address.encode())

    gateway.routes = [HttpRoute("GET", "/plugin", handle)]
    async with listening(gateway, trusted_proxies=trusted) as server:
        forwarded = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
        assert (await ask(server, "GET", "/plugin", **forwarded)).body == address.encode()


async def test_a_plugins_route_may_say_when_to_try_again(gateway: FakeGateway) -> None:
    async def handle(request: HttpRequest) -> HttpResponse:
        raise Rejected("Closed for today.", retry_after=7)

    gateway.routes = [HttpRoute("GET", "/plugin", handle)]
    async with listening(gateway) as server:
        answer = await ask(server, "GET", "/plugin")
    assert (answer.status, answer.headers["retry-after"]) == (ErrorCode.REJECTED.http_status, "7")
    assert (answer.json["code"], answer.json["message"], answer.json["retryAfter"]) == (
        "rejected",
        "Closed for today.",
        7,
    )


async def test_the_store_being_down(server: Listening, gateway: FakeGateway) -> None:
    gateway.failure = StoreUnavailable()
    answer = await ask(server, "GET", f"/api/v1/rooms/{ROOM}")
    assert (answer.status, answer.json["retry"]) == (503, True)


def test_the_paths_that_are_its_own_are_reserved(gateway: FakeGateway) -> None:
    application = application_of(gateway, metrics_public=False)
    reserved = getattr(build(QUART), "reserved_paths")  # noqa: B009  # not of every transport
    for rule in application.url_map.iter_rules():
        path = rule.rule
        assert any(path == own or (own.endswith("*") and path.startswith(own[:-1])) for own in reserved), path


async def test_the_descriptions_of_the_protocol(gateway: FakeGateway) -> None:
    gateway.documents = {"schema.json": b'{"a":1}'}
    path = f"{API_PREFIX}/schema.json"
    async with listening(gateway) as server:
        answer = await ask(server, "GET", path, Origin=ORIGIN)
        assert (answer.status, answer.body) == (200, b'{"a":1}')
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        etag = answer.headers["etag"]
        for known in (etag, f"W/{etag}", f'"another", {etag}'):
            again = await ask(server, "GET", path, If_None_Match=known)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
        assert (await ask(server, "GET", path, If_None_Match='"another"')).body == b'{"a":1}'
        head = await ask(server, "HEAD", path)
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", etag)
        assert (await ask(server, "POST", path, b"")).status == 405
        assert (await ask(server, "GET", f"{API_PREFIX}/another.json")).status == 404
