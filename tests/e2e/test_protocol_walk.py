"""Every command, event and error code of the protocol, once, over a real connection to a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import trio

from evanesce.client.connection import Connection
from evanesce.client.errors import Refused
from evanesce.errors import CloseCode, ErrorCode
from evanesce.protocol.commands import AnyCommand
from tests.e2e.clients import ChatClient, seconds
from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE, within
from tests.schemas import DEFAULT_LIMITS, EventSchemas, schema_of

pytestmark = pytest.mark.slow

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold everything that a client receives against the JSON Schema."""
    monkeypatch.setattr(ChatClient, "inspect", staticmethod(EventSchemas(schema_of(DEFAULT_LIMITS)).check))


async def two_in_a_room(server: Server, nursery: trio.Nursery) -> tuple[ChatClient, ChatClient, str]:
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id: str = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    await ana.wait_for_event("member_joined", userId=ben.user_id)
    return ana, ben, room_id


async def refusal(client: ChatClient, kind: str, **fields: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await client.ask(kind, **fields)
    refused = caught.value
    assert refused.retry is ErrorCode(refused.code).retry
    assert str(refused), "an error has words for a person"
    return refused


def test_every_command_is_walked() -> None:
    """The walks below have each command's name in them."""
    source = Path(__file__).read_text()
    for command in get_args(AnyCommand):
        assert f'"{command.__struct_config__.tag}"' in source


async def test_signing_in_and_out(server: Server, nursery: trio.Nursery) -> None:
    ana = ChatClient(server, nursery, "Ana")
    welcome = await ana.connect()
    assert welcome["displayName"] == "Ana"
    assert seconds(welcome["tokenExpiresAt"]) - seconds(welcome["serverTime"]) == pytest.approx(24 * 3600, abs=5)
    assert welcome["messageTtl"] == 60
    assert welcome["heartbeat"] == 25
    assert welcome["limits"] == {
        "contentBytes": 4096,
        "frameBytes": 65536,
        "history": 500,
        "roomsPerConnection": 50,
        "shortestTtl": 1,
        "longestTtl": 86_400,
        "messagesPerSecond": 100_000,
        "burst": 100_000,
        "commandsPerSecond": 50,
        "joinsPerSecond": 5,
        "membersPerSecond": 2,
        "renamesPerMinute": 6,
        "roomsPerHour": 60,
        "roomsPerUser": 100,
        "connectionsPerUser": 10,
        "connectionsPerAddress": 100,
        "handshakesPerSecond": 20,
        "commandsBeforeHello": 10,
        "signInsPerMinute": 100_000,
    }
    pong = await ana.ask("ping")
    assert seconds(pong["serverTime"]) >= seconds(welcome["serverTime"])

    renewed = await ana.ask("refresh")
    assert renewed["type"] == "token"
    assert seconds(renewed["tokenExpiresAt"]) >= seconds(welcome["tokenExpiresAt"])
    again = await ana.ask("hello", token=renewed["token"])
    assert again["userId"] == ana.user_id
    assert "token" not in again

    first = ana.token
    ana.token = renewed["token"]
    assert (await ana.ask("sign_out"))["type"] == "ok"
    ending = await ana.wait_closed_by_server()
    assert ending.code == CloseCode.SIGN_IN_AGAIN
    for worthless in (first, renewed["token"]):
        ana.token = worthless
        with pytest.raises(Refused) as refused:
            await ana.connect()
        assert refused.value.code == "invalid_token"
        assert (await ana.wait_closed_by_server()).code == CloseCode.SIGN_IN_AGAIN


async def test_signing_out_ends_the_other_connections(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    same = ChatClient(server, nursery, "Ana")
    same.token = ana.token
    await same.connect()
    assert same.user_id == ana.user_id
    await ana.ask("sign_out")
    with within(1):
        ending = await same.wait_closed_by_server()
    assert ending.code == CloseCode.SIGN_IN_AGAIN
    assert not ending.reconnect


async def test_profile(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    profile = await ana.ask("profile")
    assert profile["displayName"] == "Ana"
    assert "email" not in profile
    changed = await ana.ask("update_profile", displayName="  Ána  ", email="ana@example.org")
    assert changed["displayName"] == "Ána"
    assert changed["email"] == "ana@example.org"
    assert changed["createdAt"] == profile["createdAt"]
    await ben.wait_for_event("member_updated", roomId=room_id, userId=ana.user_id, displayName="Ána")
    await ana.say(room_id, "under my new name")
    assert (await ben.wait_for_event("message", content="under my new name"))["senderName"] == "Ána"
    assert "email" not in await ana.ask("update_profile", email=None)
    for field, value in (
        ("email", "nonsense"),
        ("displayName", ""),
        ("displayName", "x" * 65),
        ("displayName", "a\nb"),
    ):
        refused = await refusal(ana, "update_profile", **{field: value})
        assert refused.code == "bad_request"


async def test_rooms(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    made = [await ana.ask("create_room") for _ in range(3)]
    for room in made:
        assert room["deepLink"] == f"{server.url}/r/{room['roomId']}"
        assert room["createdBy"] == ana.user_id
        assert room["active"] is False
        assert room["memberCount"] == 0
    listed = await ana.ask("rooms")
    assert {room["roomId"] for room in listed["rooms"]} == {room["roomId"] for room in made}
    assert [room["createdAt"] for room in listed["rooms"]] == sorted((room["createdAt"] for room in made), reverse=True)
    assert "next" not in listed
    room_id = made[0]["roomId"]
    await ana.join(room_id)
    seen = await ana.ask("room", roomId=room_id)
    assert (seen["active"], seen["memberCount"]) == (True, 1)

    ben = await ChatClient.open(server, nursery, "Ben")
    await ben.join(room_id)
    assert (await refusal(ben, "close_room", roomId=room_id)).code == "forbidden"
    assert (await ana.ask("close_room", roomId=room_id))["type"] == "ok"
    for client in (ana, ben):
        closed = await client.wait_for_event("room_closed", roomId=room_id)
        assert closed["reason"]
        assert (await refusal(client, "join", roomId=room_id)).code == "room_not_found"
        assert (await refusal(client, "room", roomId=room_id)).code == "room_not_found"
        assert (await refusal(client, "send", roomId=room_id, content="too late")).code == "not_member"
    assert len((await ana.ask("rooms"))["rooms"]) == 2


OPTIONS = {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False}


async def test_options_of_rooms(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    assert (await ana.join(room_id))["room"] == OPTIONS
    own = {"messageTtl": 5, "access": "invite", "encrypted": True}
    assert (await ana.ask("create_room", **own)).items() >= (OPTIONS | own).items()
    assert (await refusal(ana, "create_room", messageTtl=86_401)).code == "bad_request"
    changed = await ana.ask("update_room", roomId=room_id, messageTtl=2, locked=True)
    assert changed.items() >= (OPTIONS | {"roomId": room_id, "messageTtl": 2, "locked": True, "memberCount": 2}).items()
    told = await ben.wait_for_event("room_updated", roomId=room_id)
    assert told == {"type": "room_updated", "roomId": room_id, "messageTtl": 2, "access": "link", "locked": True}
    assert (await refusal(ben, "update_room", roomId=room_id, locked=False)).code == "forbidden"
    cyd = await ChatClient.open(server, nursery, "Cyd")
    assert (await refusal(cyd, "join", roomId=room_id)).code == "room_locked"
    first = await ana.ask("send", roomId=room_id, content="two seconds")
    assert seconds(first["expiresAt"]) - seconds(first["createdAt"]) == pytest.approx(2)
    await ben.ask("send", roomId=room_id, content="one", ttl=1, replyTo=first["messageId"])
    assert (await ana.wait_for_event("message", content="one"))["replyTo"] == first["messageId"]
    assert (await refusal(ben, "send", roomId=room_id, content="three", ttl=3)).code == "bad_request"


async def test_invites(server: Server, nursery: trio.Nursery) -> None:
    ana, _, room_id = await two_in_a_room(server, nursery)
    await ana.ask("update_room", roomId=room_id, access="invite")
    cyd, dan = [await ChatClient.open(server, nursery, name) for name in ("Cyd", "Dan")]
    assert (await refusal(cyd, "join", roomId=room_id)).code == "invite_required"
    invite = await ana.ask("invite", roomId=room_id, people=2, seconds=600)
    link, _, secret = invite["link"].partition("#invite=")
    assert link == f"{server.url}/r/{room_id}"
    assert (await cyd.ask("join", roomId=room_id, invite=secret))["room"]["access"] == "invite"
    [listed] = (await ana.ask("invites", roomId=room_id))["invites"]
    assert listed == {
        "roomId": room_id,
        "inviteId": invite["inviteId"],
        "people": 2,
        "left": 1,
        "expiresAt": invite["expiresAt"],
    }
    assert (await ana.ask("revoke_invite", roomId=room_id, inviteId=invite["inviteId"]))["type"] == "ok"
    assert (await refusal(dan, "join", roomId=room_id, invite=secret)).code == "invite_spent"
    await cyd.ask("leave", roomId=room_id)
    assert (await cyd.join(room_id))["memberCount"] == 3


async def test_removals_and_mutes(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    of_ben = {"roomId": room_id, "userId": ben.user_id}
    assert (await ana.ask("mute", **of_ben, seconds=100))["type"] == "ok"
    for client in (ana, ben):
        assert "until" in await client.wait_for_event("member_muted", **of_ben)
    for refused in (
        await refusal(ben, "send", roomId=room_id, content="not now"),
        await refusal(ben, "typing", roomId=room_id),
    ):
        assert refused.code == "muted"
        assert refused.retry_after is not None
        assert 90 < refused.retry_after <= 100
    assert (await ana.ask("mute", **of_ben, seconds=0))["type"] == "ok"
    unmuted = {"type": "member_muted"} | of_ben
    await ben.wait_for(lambda event: unmuted.items() <= event.items() and "until" not in event)
    await ben.ask("typing", roomId=room_id)
    assert (await ana.ask("remove_member", **of_ben, banSeconds=100))["type"] == "ok"
    removed = await ben.wait_for_event("removed", roomId=room_id, reason="creator")
    assert (await ana.wait_for_event("member_left", **of_ben))["removed"] is True
    assert (await refusal(ben, "members", roomId=room_id)).code == "not_member"
    banned = await refusal(ben, "join", roomId=room_id)
    assert (banned.code, banned.retry_after is not None) == ("banned", True)
    [ban] = (await ana.ask("bans", roomId=room_id))["bans"]
    assert ban == {"userId": ben.user_id, "displayName": "Ben", "until": removed["until"]}
    assert (await ana.ask("unban", **of_ben))["type"] == "ok"
    assert (await ben.join(room_id))["memberCount"] == 2


async def test_votes(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    cyd, dan = [await ChatClient.open(server, nursery, name) for name in ("Cyd", "Dan")]
    for client in (cyd, dan):
        await client.join(room_id)
    of_dan = {"roomId": room_id, "userId": dan.user_id}
    assert (await refusal(ben, "vote_remove", **of_dan)).code == "forbidden"
    await ana.ask("leave", roomId=room_id)
    vote = await ben.ask("vote_remove", **of_dan)
    assert (vote["votes"], vote["needed"]) == (1, 2)
    told = await cyd.wait_for_event("vote", **of_dan)
    assert {name: told[name] for name in ("votes", "needed", "expiresAt")} == {
        name: vote[name] for name in ("votes", "needed", "expiresAt")
    }
    assert (await cyd.ask("vote_remove", **of_dan))["votes"] == 2
    await ben.wait_for_event("vote", **of_dan, outcome="removed")
    assert "until" in await dan.wait_for_event("removed", roomId=room_id, reason="vote")
    assert (await refusal(dan, "join", roomId=room_id)).code == "banned"


async def test_room_pages(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve("limits.rooms_per_hour=1000", "limits.commands_per_second=1000")
    ana = await ChatClient.open(server, nursery, "Ana")
    made = [(await ana.ask("create_room"))["roomId"] for _ in range(100)]
    first = await ana.ask("rooms")
    assert len(first["rooms"]) == 100
    assert "next" not in first or (await ana.ask("rooms", after=first["next"]))["rooms"] == []
    assert {room["roomId"] for room in first["rooms"]} == set(made)
    refused = await refusal(ana, "create_room")
    assert refused.code == "too_many_rooms"
    assert (await refusal(ana, "rooms", after="nonsense")).code == "bad_request"


async def test_coming_and_going(server: Server, nursery: trio.Nursery) -> None:
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    joined = await ana.join(room_id)
    assert joined["members"] == [{"userId": ana.user_id, "displayName": "Ana"}]
    assert joined["memberCount"] == 1
    assert (joined["messages"], joined["more"], joined["missed"], joined["unsent"]) == ([], False, 0, [])

    ben = await ChatClient.open(server, nursery, "Ben")
    assert {member["displayName"] for member in (await ben.join(room_id))["members"]} == {"Ana", "Ben"}
    came = await ana.wait_for_event("member_joined", userId=ben.user_id)
    assert (came["displayName"], came["memberCount"]) == ("Ben", 2)
    assert not [event for event in ben.record if event["type"] == "member_joined"]

    again = await ben.join(room_id)
    assert again["sessionId"] != joined["sessionId"]
    assert again["memberCount"] == 2
    members = await ben.ask("members", roomId=room_id)
    assert members["memberCount"] == 2
    assert {member["userId"] for member in members["members"]} == {ana.user_id, ben.user_id}

    second = ChatClient(server, nursery, "Ben")
    second.token = ben.token
    await second.connect()
    await second.join(room_id)
    await second.close()
    assert (await ben.ask("leave", roomId=room_id))["type"] == "left"
    gone = await ana.wait_for_event("member_left", userId=ben.user_id)
    assert gone["memberCount"] == 1
    kinds = [event["type"] for event in ana.record if event.get("userId") == ben.user_id]
    assert kinds == ["member_joined", "member_left"], "a user comes with the first connection and leaves with the last"
    for kind, fields in {"send": {"content": "x"}, "unsend": {"messageId": NOWHERE}, "typing": {}, "leave": {}}.items():
        for room in (room_id, NOWHERE):
            assert (await refusal(ben, kind, roomId=room, **fields)).code == "not_member"
    assert (await refusal(ben, "join", roomId=NOWHERE)).code == "room_not_found"
    assert (await refusal(ben, "room", roomId=NOWHERE)).code == "room_not_found"


async def test_talking(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    message_id = "0a0b0c0d-1111-4222-8333-444455556666"
    sent = await ana.say(room_id, "hello", message_id)
    assert sent["messageId"] == message_id
    assert sent["duplicate"] is False
    assert seconds(sent["expiresAt"]) - seconds(sent["createdAt"]) == pytest.approx(60)
    for client in (ana, ben):
        message = await client.wait_for_event("message", messageId=message_id)
        assert (message["senderId"], message["senderName"], message["content"]) == (ana.user_id, "Ana", "hello")
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])

    repeated = await ana.say(room_id, "hello", message_id)
    assert repeated["duplicate"] is True
    assert (repeated["createdAt"], repeated["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])
    assert (await refusal(ben, "send", roomId=room_id, content="mine", messageId=message_id)).code == "conflict"

    nameless = await ana.ask("send", roomId=room_id, content="without an id")
    await ben.wait_for_event("message", messageId=nameless["messageId"])
    assert ben.contents() == ["hello", "without an id"], "the repeated message was broadcast once"

    assert (await refusal(ben, "unsend", roomId=room_id, messageId=message_id)).code == "forbidden"
    assert (await ana.ask("unsend", roomId=room_id, messageId=message_id))["type"] == "ok"
    for client in (ana, ben):
        await client.wait_for_event("unsent", roomId=room_id, messageId=message_id)
    assert (await refusal(ana, "unsend", roomId=room_id, messageId=message_id)).code == "message_not_found"
    assert (await refusal(ana, "unsend", roomId=room_id, messageId=NOWHERE)).code == "message_not_found"
    assert (await refusal(ana, "send", roomId=room_id, content="again", messageId=message_id)).code == "conflict"
    joined = await ben.join(room_id)
    assert [message["content"] for message in joined["messages"]] == ["without an id"]


async def test_typing(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    assert (await ana.ask("typing", roomId=room_id))["type"] == "ok"
    await ben.wait_for_event("typing", roomId=room_id, userId=ana.user_id)
    await ana.connection.send({"type": "typing", "roomId": room_id})
    await ana.ask("typing", roomId=room_id)
    await ana.say(room_id, "said")
    await ben.wait_for_event("message", content="said")
    assert len([event for event in ben.record if event["type"] == "typing"]) == 1, "at most once in 3 s"
    assert not [event for event in ana.record if event["type"] == "typing"]
    assert len([event for event in ana.record if event["type"] == "ok"]) == 2, "`ok` only where it had a ref"


async def test_forgetting(server: Server, nursery: trio.Nursery) -> None:
    ana, ben, room_id = await two_in_a_room(server, nursery)
    assert (await ana.ask("forget_me"))["type"] == "ok"
    assert (await ana.wait_closed_by_server()).code == CloseCode.SIGN_IN_AGAIN
    await ben.wait_for_event("room_closed", roomId=room_id)
    with pytest.raises(Refused) as refused:
        await ana.connect()
    assert refused.value.code == "invalid_token"


async def test_large_rooms_are_counted(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve("rooms.roster_size=2", "rooms.capacity=3")
    ana, _, room_id = await two_in_a_room(server, nursery)
    carl = await ChatClient.open(server, nursery, "Carl")
    joined = await carl.join(room_id)
    assert "members" not in joined
    assert joined["memberCount"] == 3
    assert (await ana.wait_for_event("member_count", roomId=room_id))["memberCount"] == 3
    members = await ana.ask("members", roomId=room_id)
    assert "members" not in members
    assert members["memberCount"] == 3
    dora = await ChatClient.open(server, nursery, "Dora")
    assert (await refusal(dora, "join", roomId=room_id)).code == "room_full"
    await carl.ask("leave", roomId=room_id)
    assert (await dora.join(room_id))["memberCount"] == 3


async def talk_on(client: ChatClient, room_id: str) -> None:
    for _ in range(10):
        await client.say(room_id, "more")


async def test_limits(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve(
        "limits.messages_per_second=0.5",
        "limits.burst=3",
        "limits.rooms_per_connection=2",
        "limits.rooms_per_user=3",
        "limits.connections_per_user=2",
        "messages.content_bytes=10",
    )
    ana = await ChatClient.open(server, nursery, "Ana")
    rooms = [(await ana.ask("create_room"))["roomId"] for _ in range(3)]
    assert (await refusal(ana, "create_room")).code == "too_many_rooms"
    for room_id in rooms[:2]:
        await ana.join(room_id)
    assert (await refusal(ana, "join", roomId=rooms[2])).code == "too_many_rooms"
    assert (await refusal(ana, "send", roomId=rooms[0], content="")).code == "content_empty"
    assert (await refusal(ana, "send", roomId=rooms[0], content=" \n\t\u2003")).code == "content_empty"
    assert (await refusal(ana, "send", roomId=rooms[0], content="ten byte…")).code == "content_too_long"
    assert (await ana.say(rooms[0], "ten byt…"))["type"] == "sent"
    with pytest.raises(Refused) as caught:
        await talk_on(ana, rooms[0])
    assert caught.value.code == "rate_limited"
    assert caught.value.retry
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 2.1

    same = ChatClient(server, nursery, "Ana")
    same.token = ana.token
    await same.connect()
    with trio.fail_after(PATIENCE):
        client = await Connection.open(nursery, server.ws_url)
        await client.send({"type": "hello", "token": ana.token})
        kinds = [event["type"] async for event in client.events]
    assert "goodbye" in kinds
    assert client.close_reason is not None
    assert client.close_reason.code == CloseCode.RATE_LIMITED
    assert not client.close_reason.reconnect, "another device has to go first"


async def test_who_may_say_what_before_and_after_hello(server: Server, nursery: trio.Nursery) -> None:
    with trio.fail_after(PATIENCE):
        client = await Connection.open(nursery, server.ws_url)
        assert (await client.request({"type": "ping"}))["type"] == "pong"
        for command in ("create_room", "rooms", "profile", "refresh", "sign_out", "forget_me"):
            with pytest.raises(Refused) as refused:
                await client.request({"type": command})
            assert refused.value.code == "unauthenticated"
        with pytest.raises(Refused) as refused:
            await client.request({"type": "challenge", "provider": "nobody"})
        assert refused.value.code == "unknown_provider"
        assert (await client.request({"type": "challenge", "provider": "guest"}))["type"] == "challenge"
        with pytest.raises(Refused) as refused:
            await client.request({"type": "hello", "credential": {"provider": "nobody"}})
        assert refused.value.code == "unknown_provider"
        with pytest.raises(Refused) as refused:
            await client.request({"type": "hello", "credential": {"provider": "guest"}})
        assert refused.value.code == "bad_request"
        await client.aclose()

    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    assert (await refusal(ana, "hello", token=ben.token)).code == "forbidden"
    assert (await refusal(ana, "nonsense")).code == "unknown_type"
    assert (await ana.ask("profile"))["userId"] == ana.user_id


async def test_what_plugins_refuse(
    serve: Callable[..., Server], transport: str, plugin_path: dict[str, str], nursery: trio.Nursery
) -> None:
    server = serve(f'plugins.enabled=["guest", "sqlite", "{transport}", "walker"]', environment=plugin_path)
    with trio.fail_after(PATIENCE):
        client = await Connection.open(nursery, server.ws_url)
        for outcome in ("auth_failed", "auth_unavailable"):
            with pytest.raises(Refused) as refused:
                await client.request({"type": "hello", "credential": {"provider": "walker", "outcome": outcome}})
            assert refused.value.code == outcome
        challenge = await client.request({"type": "challenge", "provider": "walker", "echo": [1, "zwei"]})
        assert challenge["echo"] == [1, "zwei"]
        await client.aclose()
    ana, ben, room_id = await two_in_a_room(server, nursery)
    refused_by_plugin = await refusal(ana, "send", roomId=room_id, content="a forbidden word")
    assert refused_by_plugin.code == "rejected"
    assert str(refused_by_plugin) == "Not that word."
    assert (await refusal(ana, "send", roomId=room_id, content="a broken filter")).code == "internal"
    await ana.say(room_id, "shout it")
    await ben.wait_for_event("message", content="SHOUT IT")
    assert ben.contents() == ["SHOUT IT"]
