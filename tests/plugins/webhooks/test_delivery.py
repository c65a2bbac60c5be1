"""What receivers get, over real sockets: each event signed, in order, and again until it is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio

from evanesce.testing.plugins import PluginServer, plugin_server
from evanesce_plugins.webhooks import WebhooksPlugin, delivery, pipeline, presence
from tests.core.store.backends import eventually
from tests.plugins.webhooks.receiver import Receiver, Request, accept, receiver
from tests.ports import free_port

KEY, NEXT_KEY = bytes(range(32)), bytes(range(1, 33))
SECRET, NEXT_SECRET = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, NEXT_KEY))


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE_SECONDS", 0.01)


@asynccontextmanager
async def server_for(*to: Receiver | str, **settings: Any) -> AsyncGenerator[PluginServer]:
    """Run a server that sends webhooks. Without further settings a leave is sent at once."""
    urls = [one if isinstance(one, str) else one.url for one in to]
    table = {"urls": urls, "secret": SECRET, "leave_seconds": 0} | settings
    async with plugin_server({"webhooks": WebhooksPlugin()}, config={"plugins": {"webhooks": table}}) as server:
        yield server


def summaries(requests: Sequence[Request]) -> list[tuple[str, ...]]:
    return [request.summary for request in requests]


def verify(request: Request, key: bytes) -> bool:
    """Check a signature as the specification of Standard Webhooks describes it for receivers."""
    signed = b".".join(
        [request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.payload]
    )
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, given) for given in request.headers["webhook-signature"].split(" "))


async def test_every_event_is_sent_once_signed_and_with_ids_alone() -> None:
    async with receiver() as service, server_for(service, secret=[SECRET, NEXT_SECRET]) as server:
        ada, bob = await server.guest("Ada"), await server.guest("Bob")
        room = await ada.create_room()
        for client in (ada, bob):
            await client.join(room)
        await bob.send(room, "nobody else hears this")
        await bob.leave(room)
        await bob.join(room)
        await ada.command("remove_member", roomId=room, userId=bob.user_id, banSeconds=60)
        [ban] = (await ada.command("bans", roomId=room))["bans"]
        await ada.command("close_room", roomId=room)
        await bob.command("forget_me")
        await service.take(9)
    by_room = [request for request in service.taken if "roomId" in request.event["data"]]
    [until] = [request.event["data"].pop("until") for request in by_room if request.event["type"] == "member.banned"]
    assert until == ban["until"]
    assert summaries(by_room) == [
        ("room.opened", ada.user_id),
        ("member.joined", ada.user_id),
        ("member.joined", bob.user_id),
        ("member.left", bob.user_id),
        ("member.joined", bob.user_id),
        ("member.removed", bob.user_id, "creator"),
        ("member.banned", bob.user_id, "creator"),
        ("room.closed",),
    ]
    [erased] = [request for request in service.taken if request not in by_room]
    assert erased.summary == ("user.erased", bob.user_id)
    assert len({request.headers["webhook-id"] for request in service.taken}) == len(service.taken) == 9
    for request in service.taken:
        assert verify(request, KEY)
        assert verify(request, NEXT_KEY)
        assert not verify(request, bytes(32))
        assert request.event["data"].get("roomId", room) == room
        assert not any(word in request.payload for word in (b"Ada", b"Bob", b"nobody else", ada.token.encode()))


async def test_only_the_events_that_are_wanted_are_sent() -> None:
    async with receiver() as service, server_for(service, events=["room.closed"]) as server:
        ada = await server.guest("Ada")
        for _ in range(2):
            room = await ada.create_room()
            await ada.join(room)
            await ada.command("close_room", roomId=room)
        assert summaries(await service.take(2)) == [("room.closed",)] * 2


@pytest.mark.parametrize("status", [500, 404, 302, 429])
async def test_an_event_that_is_not_taken_is_sent_again_with_the_same_id(status: int) -> None:
    async def refuse_twice(request: Request) -> int:
        return await accept(request) if len(service.attempts) > 2 else status

    async with receiver(refuse_twice) as service, server_for(service) as server:
        await (await server.guest("Ada")).create_room()
        [taken] = await service.take(1)
        assert len(service.attempts) == 3
        assert {request.headers["webhook-id"] for request in service.attempts} == {taken.headers["webhook-id"]}
        assert all(verify(request, KEY) for request in service.attempts)


async def test_an_event_is_sent_again_when_the_answer_takes_too_long() -> None:
    async def hang_once(request: Request) -> int:
        if len(service.attempts) == 1:
            await trio.sleep_forever()
        return await accept(request)

    async with receiver(hang_once) as service, server_for(service, timeout=1) as server:
        await (await server.guest("Ada")).create_room()
        await service.take(1)
        assert len(service.attempts) >= 2


async def test_events_wait_for_a_receiver_that_is_not_there_yet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    async with server_for(f"http://127.0.0.1:{port}/S3CR3T-PATH") as server:
        await (await server.guest("Ada")).create_room()
        await eventually(lambda: "does not take events" in caplog.text)
        async with receiver(port=port) as service:
            await service.take(1)
            await eventually(lambda: "takes events again" in caplog.text)
    assert f"http://127.0.0.1:{port} does not take events: it cannot be connected to" in caplog.text
    assert "S3CR3T" not in caplog.text
    assert SECRET not in caplog.text


async def test_events_of_a_room_keep_their_order_though_attempts_fail() -> None:
    chance = random.Random(7)

    async def refuse_often(request: Request) -> int:
        return await accept(request) if chance.random() < 0.5 else 503

    async with receiver(refuse_often) as service, server_for(service) as server:
        ada, bob = await server.guest("Ada"), await server.guest("Bob")
        rooms = [await ada.create_room() for _ in range(4)]
        for _ in range(5):
            for room in rooms:
                await bob.join(room)
            for room in rooms:
                await bob.leave(room)
        await service.take(4 * 11)
    for room in rooms:
        of_room = [request.event["type"] for request in service.taken if request.event["data"]["roomId"] == room]
        assert of_room == ["room.opened", *["member.joined", "member.left"] * 5]


async def test_a_receiver_that_hangs_holds_up_no_other_and_what_it_misses_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    released = trio.Event()

    async def hang(request: Request) -> int:
        await released.wait()
        return await accept(request)

    async with receiver(hang) as slow, receiver() as quick:
        async with server_for(slow, quick, queue=5) as server:
            ada = await server.guest("Ada")
            for _ in range(12):
                await ada.create_room()
            await quick.take(12)
            assert slow.taken == []
            assert server._plugins.statistics()["webhooks"].dropped == 7
            released.set()
            await slow.take(5)
        assert (len(slow.taken), len(quick.taken)) == (5, 12)
    assert caplog.text.count("are lost: too many of them wait for it") == 1


async def test_an_event_is_dropped_when_its_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(request: Request) -> int:
        return await accept(request) if request.event["type"] == "room.closed" else 500

    async with receiver(refuse) as service, server_for(service, retry_seconds=0) as server:
        ada = await server.guest("Ada")
        room = await ada.create_room()
        await ada.create_room()
        await ada.command("close_room", roomId=room)
        await service.take(1)
        await eventually(lambda: server._plugins.statistics()["webhooks"].dropped == 2)
    assert len(service.attempts) == 3
    assert caplog.text.count("are lost: it has not taken them in time") == 1


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as elsewhere:

        async def send_away(request: Request) -> h11.Response:
            await trio.lowlevel.checkpoint()
            if len(service.attempts) > 3:
                return h11.Response(status_code=200, headers=[])
            return h11.Response(status_code=307, headers=[("location", elsewhere.url)])

        async with receiver(send_away) as service, server_for(service) as server:
            await (await server.guest("Ada")).create_room()
            await service.take(1)
        assert len(service.attempts) == 4
        assert elsewhere.attempts == []


async def test_a_server_that_stops_sends_what_waits() -> None:
    """It sends what a receiver has not taken yet, the leaves that are held back, and those of its own end."""
    up = False

    async def refuse(request: Request) -> int:
        return await accept(request) if up else 500

    async with receiver(refuse) as service:
        async with server_for(service, leave_seconds=600) as server:
            delivery.FIRST_PAUSE_SECONDS = 50.0
            ada, bob = await server.guest("Ada"), await server.guest("Bob")
            room = await ada.create_room()
            await service.until(lambda: len(service.attempts) == 1)
            await ada.join(room)
            await bob.join(room)
            await bob.leave(room)
            up = True
        assert [request.event["type"] for request in service.taken[:3]] == [
            "room.opened",
            "member.joined",
            "member.joined",
        ]
        assert sorted(summaries(service.taken[3:])) == sorted(
            [("member.left", bob.user_id), ("member.left", ada.user_id)]
        )


async def test_what_a_receiver_does_not_take_at_the_end_is_lost_and_said(caplog: pytest.LogCaptureFixture) -> None:
    async def hang(request: Request) -> int:
        await trio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    async with receiver(hang) as service:
        with trio.fail_after(20):
            async with server_for(service) as server:
                await (await server.guest("Ada")).create_room()
                await service.until(lambda: len(service.attempts) == 1)
    assert "1 events for http://127.0.0.1" in caplog.text


async def test_of_two_servers_one_sends_each_event() -> None:
    async with receiver() as service:
        table = {"plugins": {"webhooks": {"urls": [service.url], "secret": SECRET, "leave_seconds": 0}}}
        async with (
            plugin_server({"webhooks": WebhooksPlugin()}, config=table) as one,
            plugin_server({"webhooks": WebhooksPlugin()}, config=table, beside=one) as two,
        ):
            here, there = await one.guest("Ada"), await two.guest("Ada")
            assert here.user_id == there.user_id
            room = await here.create_room()
            await here.join(room)
            await there.join(room)
            await here.leave(room)
            await there.leave(room)
            await there.command("close_room", roomId=room)
            await service.until(lambda: any(request.event["type"] == "room.closed" for request in service.taken))
        user = here.user_id
        assert sorted(summaries(service.taken)) == sorted(
            [("room.opened", user), ("member.joined", user), ("member.left", user), ("room.closed",)]
        )


async def test_hooks_do_not_wait_long_while_the_store_hangs_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "MOST_STAGED", 1)
    monkeypatch.setattr(pipeline, "STAGE_SECONDS", 0.01)
    hanging, answering = trio.Event(), trio.Event()

    async def hang(*arguments: object) -> None:
        hanging.set()
        await answering.wait()

    async with receiver() as service, server_for(service) as server:
        monkeypatch.setattr(presence.PresenceFilter, "change", hang)
        ada = await server.guest("Ada")
        await ada.join(await ada.create_room())
        await hanging.wait()
        for _ in range(4):
            await ada.create_room()
        await eventually(lambda: server._plugins.statistics()["webhooks"].dropped == 3)
        answering.set()
        await service.take(2)
        assert server._plugins.statistics()["webhooks"].failed == 0
    assert caplog.text.count("takes too long to say who is back") == 1


async def test_what_the_store_has_not_decided_on_at_the_end_is_lost_counted_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "FLUSH_SECONDS", 0.1)
    change, held, hanging = presence.PresenceFilter.change, trio.Event(), trio.Event()

    async def hang_later(one: presence.PresenceFilter, room_id: str, joined: Sequence[str], *rest: Any) -> None:
        if held.is_set():
            hanging.set()
            await trio.sleep_forever()
        await change(one, room_id, joined, *rest)
        if not joined:
            held.set()

    monkeypatch.setattr(presence.PresenceFilter, "change", hang_later)
    async with receiver() as service, server_for(service, leave_seconds=600) as server:
        ada, bob = await server.guest("Ada"), await server.guest("Bob")
        room = await ada.create_room()
        for client in (ada, bob):
            await client.join(room)
        await service.take(3)
        await bob.leave(room)
        await held.wait()
        await bob.join(room)
        await hanging.wait()
        await ada.create_room()
    # The leave that is held back, the join that is asked for, the new room, and the leaves at the end of the server.
    assert server._plugins.statistics()["webhooks"].dropped == 1 + 1 + 1 + 2
    assert "5 events are lost: the server stops, and the store has not said who is back" in caplog.text


async def test_rooms_wait_for_the_store_at_the_same_time_and_keep_their_order() -> None:
    change, asked = presence.PresenceFilter.change, list[str]()
    first_may_end, others_may_end = trio.Event(), trio.Event()

    async def slow(one: presence.PresenceFilter, room_id: str, *rest: Any) -> None:
        asked.append(room_id)
        await (first_may_end if len(asked) == 1 else others_may_end).wait()
        await change(one, room_id, *rest)

    plugin = WebhooksPlugin()
    async with receiver() as service:
        table = {"urls": [service.url], "secret": SECRET, "leave_seconds": 0}
        async with plugin_server({"webhooks": plugin}, config={"plugins": {"webhooks": table}}) as server:
            ada = await server.guest("Ada")
            rooms = [await ada.create_room() for _ in range(4)]
            await service.take(4)
            with pytest.MonkeyPatch.context() as patches:
                patches.setattr(presence.PresenceFilter, "change", slow)
                await ada.join(rooms[0])
                await eventually(lambda: asked == rooms[:1])
                for room in rooms[1:]:
                    await ada.join(room)
                    await ada.command("close_room", roomId=room)
                await eventually(lambda: plugin._pipeline._facts.statistics().current_buffer_used == 6)
                first_may_end.set()
                await eventually(lambda: sorted(asked) == sorted(rooms))
                others_may_end.set()
                await service.take(4 + 1 + 6)
    for room in rooms[1:]:
        of_room = [request.event["type"] for request in service.taken if request.event["data"]["roomId"] == room]
        assert of_room == ["room.opened", "member.joined", "room.closed"]
