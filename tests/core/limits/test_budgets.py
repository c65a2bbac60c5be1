"""What one connection and one person may ask, in virtual time: every command has a bound, and is told of it first."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.errors import CloseCode, ErrorCode, RateLimited
from evanesce.protocol import commands, events
from evanesce.sessions.connection import ANONYMOUS_BYTES
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server

pytestmark = pytest.mark.slow

NOWHERE = "00000000-0000-4000-8000-000000000000"
STRANGE = "192.0.2.1"

ROOM = {"roomId": NOWHERE}
FIELDS: dict[str, dict[str, Any]] = {
    "challenge": {"provider": "name"},
    "send": {"content": "hello"} | ROOM,
    "unsend": {"messageId": NOWHERE} | ROOM,
    "update_profile": {"displayName": "Ada"},
    **dict.fromkeys(("room", "join", "leave", "typing", "members", "close_room"), ROOM),
    **dict.fromkeys(("update_room", "invite", "invites", "bans"), ROOM),
    **dict.fromkeys(("remove_member", "unban", "vote_remove"), {"userId": NOWHERE} | ROOM),
    "mute": {"userId": NOWHERE, "seconds": 1} | ROOM,
    "revoke_invite": {"inviteId": NOWHERE} | ROOM,
}
COMMANDS = [str(kind.__struct_config__.tag) for kind in get_args(commands.AnyCommand)]
AT_ONCE = {"send": 20, "join": 50, "members": 10, "update_profile": 6, "create_room": 60, "challenge": 30}
"""How many of a command are taken at once; of the others as many as of all together. `challenge` is of an address."""
ALL_AT_ONCE = 100

DEPARTING = ("sign_out", "forget_me")
"""These end the connection by themselves."""


async def answers(connection: MemoryConnection, kind: str, count: int, **fields: Any) -> list[dict[str, Any]]:
    """Send the same `count` times at once, and wait for as many answers, or for the end."""
    for number in range(count):
        connection.say(kind, ref=number, **FIELDS.get(kind, {}) | fields)
    await wait_all_tasks_blocked()
    return [event for event in connection.waiting() if "ref" in event]


def refused(answered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in answered if event.get("code") == "rate_limited"]


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind not in DEPARTING])
async def test_every_command_has_a_bound_and_is_refused_before_the_connection_ends(
    autojump_clock: MockClock, kind: str
) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        fields = {"roomId": room} if kind == "send" else {}
        await trio.sleep(3_600)
        most = AT_ONCE.get(kind, ALL_AT_ONCE)
        answered = await answers(ada, kind, most + 20, **fields)
        assert [event["ref"] for event in refused(answered)] == list(range(most, most + 20))
        for error in refused(answered):
            assert error["retry"] is True
            assert error["retryAfter"] > 0
        assert ada.closed is None
        # Somebody who waits as long as he was told is served.
        await trio.sleep(refused(answered)[0]["retryAfter"])
        assert not refused(await answers(ada, kind, 1, **fields))
        # Somebody who goes on far above it is not.
        for number in range(900):
            ada.say(kind, ref=number, **FIELDS.get(kind, {}) | fields)
        assert (await ada.end())[0] == CloseCode.RATE_LIMITED
        assert ada.waiting()[-1]["type"] == "goodbye"


@pytest.mark.parametrize("kind", DEPARTING)
async def test_commands_that_end_a_connection_count_too(autojump_clock: MockClock, kind: str) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        await answers(ada, "ping", ALL_AT_ONCE)
        [answered] = await answers(ada, kind, 1)
        assert answered["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("frame", "code"),
    [('{"type": "dance", "ref": 1}', "unknown_type"), ('{"type": "join", "ref": 1}', "bad_request")],
)
async def test_frames_that_are_no_commands_count_as_some(autojump_clock: MockClock, frame: str, code: str) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        for _ in range(ALL_AT_ONCE + 5):
            ada.send(frame)
        await wait_all_tasks_blocked()
        assert [event["code"] for event in ada.waiting()] == [code] * ALL_AT_ONCE + ["rate_limited"] * 5


async def test_all_commands_but_send_share_a_bound(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        for kind in ("typing", "leave", "ping", "profile"):
            assert not refused(await answers(ada, kind, ALL_AT_ONCE // 4))
        assert refused(await answers(ada, "room", 1))
        [answered] = await answers(ada, "send", 1)
        assert answered["code"] == "rate_limited", "what is no message counts as another command"


async def test_a_person_has_one_bound_on_all_connections_and_http(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        signed_in = await server.gateway.sign_in({"provider": "name", "name": "Ada"}, bearer=None, address="::1")
        token = str(signed_in.reply.token)
        one, two = server.connect(), server.connect()
        for connection in (one, two):
            assert (await connection.ask("hello", token=token))["type"] == "welcome"
        assert len(refused(await answers(one, "create_room", 30))) == 0
        assert len(refused(await answers(two, "create_room", 20))) == 0
        for _ in range(10):
            await server.gateway.execute(commands.CreateRoom(), bearer=token, address="::1")
        with pytest.raises(RateLimited) as caught:
            await server.gateway.execute(commands.CreateRoom(), bearer=token, address="::1")
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60


@pytest.mark.parametrize(
    ("kind", "most", "rate"), [("update_profile", 6, 6 / 60), ("create_room", 60, 60 / 3600), ("send", 20, 5.0)]
)
async def test_what_lasts_or_reaches_many_counts_over_all_servers(
    autojump_clock: MockClock, kind: str, most: int, rate: float
) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository) as first,
        memory_server(memory=memory, repository=repository) as second,
    ):
        people = [await first.sign_in("Ada"), await second.sign_in("Ada")]
        fields: dict[str, Any] = {}
        if kind == "send":
            fields = {"roomId": await first.open_room(people[0])}
            for person in people:
                await person.ask("join", **fields)
        began = trio.current_time()
        taken = 0
        for _ in range(40):
            for person in people:
                answered = await answers(person, kind, 5, **fields)
                taken += 5 - len(refused(answered))
            await trio.sleep(1 / rate / 4)
        lasted = trio.current_time() - began
        assert 0.8 * (most + rate * lasted) < taken <= most + rate * lasted + 1


async def test_closed_rooms_count(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        for _ in range(60):
            room = await ada.ask("create_room")
            assert (await ada.ask("close_room", roomId=room["roomId"]))["type"] == "ok"
            await trio.sleep(0.1)
        error = await ada.ask("create_room")
        assert error["code"] == "rate_limited"
        assert 0 < error["retryAfter"] <= 60


async def test_somebody_who_comes_back_joins_all_rooms_at_once(autojump_clock: MockClock) -> None:
    limits = LimitsTable(rooms_per_connection=80)
    async with memory_server(limits=limits) as server:
        ada = await server.sign_in("Ada")
        owners = [await server.sign_in("Bob"), await server.sign_in("Cyd")]
        rooms = [await server.open_room(owner) for owner in owners for _ in range(40)]
        for room in rooms:
            ada.say("join", roomId=room)
        await wait_all_tasks_blocked()
        assert [event["type"] for event in ada.waiting()] == ["joined"] * 80
        error = await ada.ask("join", roomId=rooms[0])
        assert (error["code"], error["retryAfter"]) == ("rate_limited", 0.2)


def test_every_limit_that_binds_clients_is_told() -> None:
    """`heartbeat` is told beside the limits; the others are no client's to keep to."""
    not_told = {"heartbeat_seconds", "hello_seconds", "outbox_bytes", "exempt_addresses"}
    own = {field.name for field in msgspec.structs.fields(LimitsTable)}
    assert not_told < own
    of_messages = {"content_bytes", "history", "shortest_ttl", "longest_ttl"}
    assert {field.name for field in msgspec.structs.fields(events.Limits)} == own - not_told | of_messages


async def test_welcome_tells_the_limits_that_are_configured(autojump_clock: MockClock) -> None:
    distinct = {field.name: 7 + number for number, field in enumerate(msgspec.structs.fields(LimitsTable))}
    for name in ("heartbeat_seconds", "hello_seconds", "outbox_bytes", "exempt_addresses", "frame_bytes"):
        del distinct[name]
    async with memory_server(limits=LimitsTable(**distinct)) as server:
        welcome = await server.connect().ask("hello", credential={"provider": "name", "name": "Ada"})
        names = {field.name: field.encode_name for field in msgspec.structs.fields(events.Limits)}
        assert {name: welcome["limits"][names[name]] for name in distinct} == distinct


# Strangers


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind != "hello"])
async def test_a_stranger_may_send_few_commands(autojump_clock: MockClock, kind: str) -> None:
    async with memory_server() as server:
        stranger = server.connect(address=STRANGE)
        answered = await answers(stranger, kind, 15)
        assert [event["ref"] for event in refused(answered)] == list(range(10, 15))
        assert all(0 < event["retryAfter"] <= 0.1 for event in refused(answered))
        assert stranger.closed is None
        await trio.sleep(0.1)
        assert not refused(await answers(stranger, kind, 1))
        for _ in range(100):
            stranger.say(kind, **FIELDS.get(kind, {}))
        assert (await stranger.end())[0] == CloseCode.RATE_LIMITED


async def test_who_signs_in_is_a_stranger_no_more(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        stranger = server.connect(address=STRANGE)
        await answers(stranger, "ping", 9)
        assert (await stranger.ask("hello", credential={"provider": "name", "name": "Ada"}))["type"] == "welcome"
        assert not refused(await answers(stranger, "ping", 50))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_exempt_addresses_are_not_bound(autojump_clock: MockClock, address: str) -> None:
    async with memory_server() as server:
        stranger = server.connect(address=address)
        assert len(await answers(stranger, "ping", 500)) == 500
        assert stranger.closed is None


@pytest.mark.parametrize("kind", ["ping", "dance", "challenge", "join"])
async def test_a_stranger_who_reads_nothing_holds_little(autojump_clock: MockClock, kind: str) -> None:
    async with memory_server() as server:
        stranger = server.connect()  # from an exempt address: no rate binds it
        stranger.stalled = True
        most = 0
        while stranger.closed is None:
            stranger.say(kind, **FIELDS.get(kind, {}))
            await wait_all_tasks_blocked()
            most = max(most, stranger.waiting_bytes)
        assert stranger.closed[0] == CloseCode.TOO_SLOW
        assert most <= ANONYMOUS_BYTES + 1_000


async def test_what_is_no_message_is_bounded_and_takes_no_messages_place(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        room = await server.open_room(ada)
        await ada.ask("join", roomId=room)
        await trio.sleep(60)
        for content in ["", " ", "x" * 5_000, "x" * 5_000] * 30:
            ada.say("send", roomId=room, content=content)
        await wait_all_tasks_blocked()
        codes = [event["code"] for event in ada.waiting()]
        assert codes.count(ErrorCode.RATE_LIMITED) == 20
        assert [event["type"] for event in await answers(ada, "send", 20, roomId=room)].count("sent") == 20


async def test_somebody_who_comes_back_on_all_connections_and_waits_as_told_is_let_in(
    autojump_clock: MockClock,
) -> None:
    """Each command is answered, and sent again when its `retryAfter` is over: however many there are, nobody is cut."""
    async with memory_server() as server:
        signed_in = await server.gateway.sign_in({"provider": "name", "name": "Ada"}, bearer=None, address="::1")
        owner = await server.sign_in("Bob")
        rooms = [await server.open_room(owner) for _ in range(50)]
        connections = [server.connect() for _ in range(10)]
        for connection in connections:
            await connection.ask("hello", token=str(signed_in.reply.token))

        async def come_back(connection: MemoryConnection) -> None:
            for number, room in enumerate(rooms):
                connection.say("join", ref=number, roomId=room)
            waiting: dict[int, float] = {}
            joined = 0
            while joined < len(rooms):
                now = trio.current_time()
                for number in [number for number, at in waiting.items() if at <= now]:
                    del waiting[number]
                    connection.say("join", ref=number, roomId=rooms[number])
                await wait_all_tasks_blocked()
                assert connection.closed is None
                for event in connection.waiting():
                    joined += event["type"] == "joined"
                    if event["type"] == "error":
                        waiting[event["ref"]] = trio.current_time() + event["retryAfter"]
                if waiting:
                    await trio.sleep(max(0.0, min(waiting.values()) - trio.current_time()))

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for connection in connections:
                    nursery.start_soon(come_back, connection)
