"""People in scripted conversations, each with a client library of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from evanesce.client import Client, Message, Room, aio
from evanesce.testing.conversation import Said
from tests.e2e.clients import ChatClient
from tests.patience import PATIENCE

Result = TypeVar("Result")


class LibraryTalker:
    """The talker of a client of `evanesce.client`, on Trio."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rooms: dict[str, Room] = {}

    async def create_room(self) -> str:
        return (await self._client.create_room()).room_id

    async def join(self, room_id: str) -> Sequence[Said]:
        self._rooms[room_id] = await self._client.join(room_id)
        return ()

    async def leave(self, room_id: str) -> None:
        await self._rooms.pop(room_id).leave()

    async def send(self, room_id: str, content: str) -> None:
        await self._rooms[room_id].send(content)

    async def hear(self) -> Said:
        (room,) = self._rooms.values()
        async for event in room:
            if isinstance(event, Message):
                return event.sender_name, event.content or ""
        raise AssertionError("the room was left")


class AsyncioTalker:
    """The talker of a client of `evanesce.client.aio`, with an event loop in a thread of its own."""

    def __init__(self, url: str, credential: dict[str, str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._opened = aio.open_client(url, credential=credential)
        self._rooms: dict[str, aio.Room] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str) -> AsyncGenerator[AsyncioTalker]:
        talker = cls(url, {"provider": "guest", "displayName": name})
        talker._thread.start()
        try:
            talker._client = await talker._call(talker._opened.__aenter__())
            yield talker
        finally:
            with trio.CancelScope(shield=True):
                await talker._call(talker._opened.__aexit__(None, None, None))
                talker._loop.call_soon_threadsafe(talker._loop.stop)
                await trio.to_thread.run_sync(talker._thread.join, PATIENCE)
                talker._loop.close()

    async def _call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return await trio.to_thread.run_sync(future.result, PATIENCE)

    async def create_room(self) -> str:
        return (await self._call(self._client.create_room())).room_id

    async def join(self, room_id: str) -> Sequence[Said]:
        self._rooms[room_id] = await self._call(self._client.join(room_id))
        return ()

    async def leave(self, room_id: str) -> None:
        await self._call(self._rooms.pop(room_id).leave())

    async def send(self, room_id: str, content: str) -> None:
        await self._call(self._rooms[room_id].send(content))

    async def hear(self) -> Said:
        (room,) = self._rooms.values()
        return await self._call(self._next_message(room))

    async def _next_message(self, room: aio.Room) -> Said:
        async for event in room:
            if isinstance(event, Message):
                return event.sender_name, event.content or ""
        raise AssertionError("the room was left")


class DriverTalker:
    """The talker of any client with a driver for `evanesce client-conformance`.

    A driver creates no rooms: another connection of the same person does it.
    """

    def __init__(self, process: trio.Process, account: ChatClient) -> None:
        self._process = process
        self._account = account
        self._lines, self._heard = trio.open_memory_channel[dict[str, Any]](1024)
        self._said: list[Said] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, command: Sequence[str], account: ChatClient, url: str) -> AsyncGenerator[DriverTalker]:
        """Start the driver `command` for the person of `account`, at the server `url`."""
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, [*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
            process: trio.Process = await nursery.start(run)
            talker = cls(process, account)
            nursery.start_soon(talker._read)
            await talker._tell("connect", token=account.token)
            yield talker
            assert process.stdin is not None
            await process.stdin.aclose()  # it ends at the end of its input

    async def _tell(self, action: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": action} | fields).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        received = b""
        async with self._lines:
            async for data in self._process.stdout:
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    await self._lines.send(json.loads(line))

    async def _wait_for(self, event: str) -> dict[str, Any]:
        """Wait for an event. Keep the messages that come before it."""
        async for line in self._heard:
            if line["event"] == event:
                return line
            if line["event"] == "message":
                self._said.append((line["senderName"], line["content"]))
        raise AssertionError(f"the driver ended before {event}")

    async def create_room(self) -> str:
        return str((await self._account.ask("create_room"))["roomId"])

    async def join(self, room_id: str) -> Sequence[Said]:
        await self._tell("join", roomId=room_id)
        await self._wait_for("joined")
        return ()

    async def leave(self, room_id: str) -> None:
        await self._tell("leave", roomId=room_id)
        await self._wait_for("left")

    async def send(self, room_id: str, content: str) -> None:
        await self._tell("send", id=content, roomId=room_id, content=content)
        await self._wait_for("sent")

    async def hear(self) -> Said:
        if self._said:
            return self._said.pop(0)
        message = await self._wait_for("message")
        return message["senderName"], message["content"]
