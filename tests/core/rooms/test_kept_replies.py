"""`sent` and the message that it is about: one frame for the sender where the answer of the store comes first."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import CloseCode
from evanesce.rooms.kept_replies import KEPT_SECONDS, KeptReplies
from evanesce.rooms.messages import Messages
from evanesce.store.memory.room import Room
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, join_room

Publish = Callable[[], None]


@asynccontextmanager
async def late_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[tuple[str, list[MemoryConnection], list[Publish]], None]:
    """Two members of a room, and what the store has not published yet: Redis uses another connection for that."""
    publish = Room.publish
    unpublished: list[Publish] = []

    def later(self: Room, events: Sequence[Any]) -> None:
        if events:
            unpublished.append(lambda: publish(self, events))

    async with memory_server(limits=QUICK) as server:
        room, clients = await join_room(server, "Ada", "Bob")
        await clients[0].ask("send", roomId=room, content="before")  # with it comes the right to say more
        await wait_all_tasks_blocked()
        for client in clients:
            client.frames.clear()
            client.waiting()
        with monkeypatch.context() as patch:
            patch.setattr(Room, "publish", later)
            yield room, clients, unpublished


def types(client: MemoryConnection) -> list[list[str]]:
    """Return the types of what each frame has."""
    return [[event["type"] for event in msgspec.json.decode(frame)] for frame in client.frames]


async def test_the_sender_gets_both_in_one_frame(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with late_publisher(monkeypatch) as (room, [ada, bob], unpublished):
        ada.say("send", roomId=room, content="hello")
        await wait_all_tasks_blocked()
        assert types(ada) == []
        [publish] = unpublished
        publish()
        await wait_all_tasks_blocked()
        assert types(ada) == [["sent", "message"]]
        assert types(bob) == [["message"]]


async def test_a_reply_does_not_wait_long_for_its_message(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with late_publisher(monkeypatch) as (room, [ada, bob], unpublished):
        ada.say("send", roomId=room, content="hello")
        await trio.sleep(2.1 * KEPT_SECONDS)
        assert types(ada) == [["sent"]]
        [publish] = unpublished
        publish()
        await wait_all_tasks_blocked()
        assert types(ada) == [["sent"], ["message"]]
        assert types(bob) == [["message"]]


async def test_replies_keep_the_order_of_the_commands(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with late_publisher(monkeypatch) as (room, [ada, _], unpublished):
        ada.say("send", roomId=room, content="first", ref=1)
        await wait_all_tasks_blocked()
        ada.say("send", roomId=room, content="second", ref=2)
        await wait_all_tasks_blocked()
        ada.say("members", roomId=room, ref=3)
        await wait_all_tasks_blocked()
        assert [event["ref"] for event in ada.waiting() if "ref" in event] == [1, 2, 3]
        for publish in unpublished:
            publish()
        await wait_all_tasks_blocked()
        assert [event["content"] for event in ada.waiting()] == ["first", "second"]


async def test_a_refusal_does_not_overtake_a_kept_reply(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with late_publisher(monkeypatch) as (room, [ada, bob], _):
        taken = (await bob.ask("send", roomId=room, content="mine"))["messageId"]
        ada.say("send", roomId=room, content="first", ref=1)
        await wait_all_tasks_blocked()
        ada.say("send", roomId=room, content="second", ref=2, messageId=taken)
        await wait_all_tasks_blocked()
        answers = [(event["type"], event["ref"]) for event in ada.waiting() if "ref" in event]
        assert answers == [("sent", 1), ("error", 2)]


async def test_a_fault_at_writing_a_kept_reply_ends_its_room_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Messages) -> None:
        raise ZeroDivisionError

    def swallow(self: Room, events: Sequence[Any]) -> None:
        assert events

    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        elsewhere, [cyd] = await join_room(server, "Cyd")
        with monkeypatch.context() as patch:
            patch.setattr(Room, "publish", swallow)
            ada.say("send", roomId=room, content="hello")
            await wait_all_tasks_blocked()
            patch.setattr(Messages, "write_kept_reply", fail)
            await trio.sleep(2.1 * KEPT_SECONDS)
        for member in (ada, bob):
            assert (await member.end())[0] == CloseCode.INTERNAL
        cyd.say("send", roomId=elsewhere, content="hello")
        assert (await cyd.until("message"))["content"] == "hello"


async def test_a_sender_who_does_not_read_gets_the_reply_and_later_the_message(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with late_publisher(monkeypatch) as (room, [ada, _], unpublished):
        ada.stalled = True
        ada.waiting_bytes = 900_000  # more than messages may use, but replies
        ada.say("send", roomId=room, content="hello")
        await wait_all_tasks_blocked()
        [publish] = unpublished
        publish()
        await wait_all_tasks_blocked()
        ada.waiting_bytes = 0
        ada.take()
        await trio.sleep(1)
        assert [event["type"] for event in ada.waiting()] == ["sent", "message"]


async def test_a_room_whose_reply_was_written_is_not_kept(autojump_clock: MockClock) -> None:
    class Written:
        def write_kept_reply(self) -> None: ...

    replies = KeptReplies()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.run)
        keeper = Written()
        replies.add(keeper, lambda handle: handle)
        kept = weakref.ref(keeper)
        del keeper
        await trio.sleep(3 * KEPT_SECONDS)
        assert kept() is None, "it has the names of its members"
        nursery.cancel_scope.cancel()


async def test_a_reply_is_not_written_at_the_time_of_the_one_before(autojump_clock: MockClock) -> None:
    class Room:
        """Keeps a reply again as soon as the one before has met its message, as a busy room does."""

        def __init__(self) -> None:
            self.waited: list[float] = []
            self.added_at = 0.0

        def keep(self) -> None:
            self.added_at = trio.current_time()
            replies.add(self, lambda handle: handle)

        def write_kept_reply(self) -> None:
            self.waited.append(trio.current_time() - self.added_at)

    replies, room = KeptReplies(), Room()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.run)
        for _ in range(50):
            room.keep()
            await trio.sleep(0.3 * KEPT_SECONDS)
        assert room.waited == []
        await trio.sleep(2.1 * KEPT_SECONDS)
        [waited] = room.waited
        assert KEPT_SECONDS <= waited <= 2 * KEPT_SECONDS
        nursery.cancel_scope.cancel()
