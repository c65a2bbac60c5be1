"""Observers of messages learn who wrote where, when and how much, and not what."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.hookspecs import Hooks, hookimpl
from evanesce.interfaces import Server
from evanesce.model import Timestamp
from evanesce.plugins import Plugins
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, join_room


class Watcher:
    """Notes what it is told, and says something as a service."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.server: Server | None = None

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        self.server = server

    @hookimpl
    async def evanesce_message_sent(
        self,
        room_id: str,
        sender_id: str,
        message_id: str,
        size: int,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> None:
        self.told.append((room_id, sender_id, message_id, size, created_at, expires_at))


async def test_an_accepted_message_is_told_once_on_the_server_that_took_it(autojump_clock: MockClock) -> None:
    memory, repository, here, there = MemoryServer(), MemoryRepository(), Watcher(), Watcher()
    async with (
        memory_server(plugins={"w": here}, memory=memory, repository=repository, limits=QUICK) as one,
        memory_server(plugins={"w": there}, memory=memory, repository=repository, limits=QUICK) as two,
    ):
        room, [ada] = await join_room(one, "Ada")
        bob = await two.sign_in("Bob")
        await bob.ask("join", roomId=room)
        mine = {"roomId": room, "messageId": str(uuid.uuid4()), "content": "héllo"}
        sent = await ada.ask("send", **mine)
        heard = await bob.until("message")
        assert (await ada.ask("send", **mine))["duplicate"] is True
        assert (await ada.ask("send", roomId=room, content=" "))["code"] == "content_empty"
        await wait_all_tasks_blocked()
        expected = (room, heard["senderId"], sent["messageId"], 6, sent["createdAt"], sent["expiresAt"])
        assert (here.told, there.told) == ([expected], [])


async def test_messages_that_are_stored_together_and_those_of_services_are_told(autojump_clock: MockClock) -> None:
    watcher = Watcher()
    async with memory_server(plugins={"w": watcher}, limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(5):
            ada.say("send", roomId=room, content=str(number))
        for _ in range(5):
            await ada.until("sent")
        assert watcher.server is not None
        await watcher.server.say(room, "hello", name="Bot")
        await ada.until("message", content="hello")
        await wait_all_tasks_blocked()
        assert [told[3] for told in watcher.told] == [1, 1, 1, 1, 1, 5]
        assert watcher.told[-1][1] == "service:w"


async def test_without_observers_and_filters_nothing_is_called_for_a_message(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **named: Any) -> None:
        pytest.fail("called")

    monkeypatch.setattr(Plugins, "message_stored", never)
    async with memory_server(plugins={"other": object()}, limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        assert (await ada.ask("send", roomId=room, content="hello"))["type"] == "sent"


def test_no_hook_but_the_filter_is_handed_content() -> None:
    handed = set(vars(Hooks)["evanesce_message_sent"].__annotations__)
    assert handed == {"room_id", "sender_id", "message_id", "size", "created_at", "expires_at", "return"}
