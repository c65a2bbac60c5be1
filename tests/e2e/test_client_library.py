"""The client library and a real server that is restarted, on Trio and on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import trio

from evanesce.client import (
    Expired,
    Joined,
    Left,
    Message,
    Missed,
    Refused,
    Room,
    Stopped,
    Unreachable,
    Unsent,
    aio,
    open_client,
)
from evanesce.room_encryption import is_available
from tests.e2e.running import Server
from tests.on_asyncio import on_asyncio
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow


GUEST = {"provider": "guest", "displayName": "Ana"}
MESSAGES = 30


async def test_a_restarted_server_loses_nothing_and_doubles_nothing(
    serve_shared: Callable[..., Server],
) -> None:
    server = serve_shared("server.drain_seconds=1")
    received: list[str] = []
    missed: list[Missed] = []

    async def read(room: Room) -> None:
        async for event in room:
            if isinstance(event, Message):
                received.append(event.content or "")
                if len(received) == MESSAGES:
                    return
            elif isinstance(event, Missed):
                missed.append(event)

    with trio.fail_after(2 * PATIENCE):
        async with open_client(server.url, credential=GUEST) as ana, open_client(server.url, credential=GUEST) as ben:
            link = (await ana.create_room()).deep_link
            ours, theirs = await ana.join(link), await ben.join(link)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, ours)
                nursery.start_soon(_discard, theirs, nursery.cancel_scope)
                for number in range(MESSAGES):
                    if number == 10:
                        await trio.to_thread.run_sync(server.stop)
                        nursery.start_soon(trio.to_thread.run_sync, server.start)
                    if number == 20:
                        await trio.to_thread.run_sync(server.kill)
                        nursery.start_soon(trio.to_thread.run_sync, server.start)
                    await theirs.send(f"text {number}")
                await theirs.leave()
    assert received == [f"text {number}" for number in range(MESSAGES)]
    assert missed == []


async def _discard(room: Room, scope: trio.CancelScope) -> None:
    kinds = [type(event) async for event in room]
    assert kinds[0] is Joined
    assert kinds[-1] is Left


async def test_a_whole_conversation(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        async with open_client(server.url, credential=GUEST) as client:
            created = await client.create_room(message_ttl=1, encrypted=is_available())
            room = await client.join(created.deep_link)
            assert isinstance(await anext(room), Joined)
            sent = await room.send("hello")
            assert isinstance(message := await anext(room), Message)
            assert (message.message_id, message.content) == (sent.message_id, "hello")
            assert isinstance(expired := await anext(room), Expired)
            assert expired.message_id == sent.message_id
            second = await room.send("again", reply_to=sent.message_id)
            assert isinstance(await anext(room), Message)
            await room.unsend(second.message_id)
            assert isinstance(await anext(room), Unsent)
            assert (await room.members()).member_count == 1
            await room.typing()
            updated = await room.request({"type": "update_room", "locked": True})
            assert updated["locked"]
            with pytest.raises(Refused) as caught:
                await room.unsend(second.message_id)
            assert caught.value.code == "message_not_found"


async def test_nobody_there_and_nobody_let_in(server: Server) -> None:
    with pytest.raises(Unreachable):
        async with open_client(f"http://127.0.0.1:{free_port()}", credential=GUEST, connect_seconds=0.5):
            pass
    with pytest.raises(Stopped) as caught:
        async with open_client(server.url, token="no token"):
            pass
    assert caught.value.code == 4401


def test_on_asyncio(server: Server) -> None:
    async def converse() -> list[str]:
        async with aio.open_client(server.url, credential=GUEST) as client:
            room = await client.join((await client.create_room()).deep_link)
            assert isinstance(await anext(room), Joined)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(room), 0.05)
            sending = asyncio.create_task(room.send("hello"))
            read = [await anext(room)]
            await sending
            assert (await room.members()).member_count == 1
            await room.leave()
            return [type(event).__name__ for event in [*read, *[event async for event in room]]]

    assert on_asyncio(asyncio.wait_for(converse(), PATIENCE)) == ["Message", "Left"]


def test_errors_and_cancellation_on_asyncio(server: Server) -> None:
    async def read_all(room: aio.Room) -> None:
        async for event in room:
            assert isinstance(event, Joined)

    async def refused() -> None:
        async with aio.open_client(server.url, token="no token"):
            pass

    async def forbidden() -> None:
        async with aio.open_client(server.url, credential=GUEST) as client:
            await client.join("00000000-0000-4000-8000-000000000000")

    async def cancelled() -> str:
        async with aio.open_client(server.url, credential=GUEST) as client:
            room = await client.join((await client.create_room()).deep_link)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read_all(room), 0.2)
            return client.user_id

    with pytest.raises(Stopped):
        on_asyncio(refused())
    with pytest.raises(Refused, match=r"."):
        on_asyncio(forbidden())
    assert on_asyncio(cancelled())
