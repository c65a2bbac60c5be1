"""A message that is sent again: filters are not asked about what is stored already."""

from __future__ import annotations

import uuid

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import MessagesTable
from evanesce.errors import Rejected
from evanesce.hookspecs import hookimpl
from evanesce.model import Draft
from evanesce.plugins.repeats import LetThrough
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.core.rooms.clients import NOWHERE, QUICK, contents, join_room


class Once:
    """Counts what it sees, changes it, and refuses whatever it has seen before."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft:
        if draft.content in self.seen:
            raise Rejected("You have said that already.", retry_after=2.5)
        self.seen.append(draft.content)
        return msgspec.structs.replace(draft, content=f"{draft.content}, filtered")


def new_id() -> str:
    return str(uuid.uuid4())


async def test_a_filter_does_not_see_a_message_that_is_stored_already(autojump_clock: MockClock) -> None:
    once = Once()
    async with memory_server(plugins={"once": once}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        mine = {"roomId": room, "messageId": new_id(), "content": "hello"}
        first = await ada.ask("send", **mine)
        assert first["duplicate"] is False
        assert (await bob.until("message"))["content"] == "hello, filtered"
        for _ in range(3):
            again = await ada.ask("send", **mine)
            assert {key: value for key, value in again.items() if key != "ref"} == {
                **{key: value for key, value in first.items() if key != "ref"},
                "duplicate": True,
            }
        assert once.seen == ["hello"]
        assert contents(bob.waiting()) == []


async def test_nor_on_another_server(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    here, there = Once(), Once()
    there.seen.append("hello")  # it would refuse
    async with (
        memory_server(plugins={"once": here}, memory=memory, repository=repository) as one,
        memory_server(plugins={"once": there}, memory=memory, repository=repository) as two,
    ):
        room, [ada] = await join_room(one, "Ada")
        mine = {"roomId": room, "messageId": new_id(), "content": "hello"}
        sent = await ada.ask("send", **mine)
        elsewhere = await two.sign_in("Ada")
        await elsewhere.ask("join", roomId=room)
        again = await elsewhere.ask("send", **mine)
        assert (again["type"], again["duplicate"], again["createdAt"]) == ("sent", True, sent["createdAt"])


async def test_what_is_no_repeat_is_filtered(autojump_clock: MockClock) -> None:
    """Another's id, one that has expired or was taken back, one of another room, and one without an id."""
    once = Once()
    async with memory_server(plugins={"once": once}, messages=MessagesTable(ttl=5), limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        other = await server.open_room(ada)
        await ada.ask("join", roomId=other)
        name = new_id()
        await ada.ask("send", roomId=room, messageId=name, content="first")
        assert (await bob.ask("send", roomId=room, messageId=name, content="of bob's"))["code"] == "conflict"
        assert (await ada.ask("send", roomId=other, messageId=name, content="elsewhere"))["duplicate"] is False
        assert (await ada.ask("send", roomId=room, content="no id"))["duplicate"] is False
        await ada.ask("unsend", roomId=room, messageId=name)
        assert (await ada.ask("send", roomId=room, messageId=name, content="taken back"))["code"] == "conflict"
        assert once.seen == ["first", "of bob's", "elsewhere", "no id", "taken back"]
        refused = await ada.ask("send", roomId=room, messageId=new_id(), content="first")
        assert (refused["code"], refused["retryAfter"]) == ("rejected", 2.5)


async def test_a_repeat_is_answered_in_its_turn(autojump_clock: MockClock) -> None:
    once = Once()
    memory = MemoryServer()
    async with memory_server(plugins={"once": once}, memory=memory, limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        name = new_id()
        await ada.ask("send", roomId=room, messageId=name, content="hello")
        ada.waiting()
        for ref in range(20):
            ada.say("send", roomId=room, messageId=name if ref % 2 else new_id(), content=f"{ref}", ref=ref)
        answers = [await ada.until("sent") for _ in range(20)]
        assert [answer["ref"] for answer in answers] == list(range(20))
        assert [answer["duplicate"] for answer in answers] == [bool(ref % 2) for ref in range(20)]


async def test_a_member_who_has_left_gets_no_answer_about_the_room(autojump_clock: MockClock) -> None:
    async with memory_server(plugins={"once": Once()}, limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        mine = {"roomId": room, "messageId": new_id(), "content": "hello"}
        await ada.ask("send", **mine)
        await ada.ask("leave", roomId=room)
        assert (await ada.ask("send", **mine))["code"] == "not_member"


@pytest.mark.parametrize(("filters", "named"), [(False, True), (True, False)])
async def test_nobody_else_asks_the_store_twice(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, filters: bool, named: bool
) -> None:
    """Without a filter, or without an id of the client's, sending costs no further round trip."""
    async with memory_server(plugins={"once": Once()} if filters else {}, limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")

        async def asked(*arguments: object) -> None:
            pytest.fail("the store was asked")

        monkeypatch.setattr(server.store.messages, "find", asked)
        mine = {"messageId": new_id()} if named else {}
        assert (await ada.ask("send", roomId=room, content="hello", **mine))["type"] == "sent"
        assert (await ada.ask("send", roomId=room, content="again", **mine))["duplicate"] is named


async def test_what_is_sent_again_after_a_loss_reaches_those_who_joined_since(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        sent = {"roomId": room, "messageId": NOWHERE, "content": "hello"}
        await ada.ask("send", **sent)
        memory.go_down()
        memory.come_back(with_memory=False)
        cyd = await server.sign_in("Cyd")
        assert (await cyd.ask("join", roomId=room))["messages"] == []
        assert (await ada.ask("send", **sent))["duplicate"] is False
        await ada.ask("send", roomId=room, content="new")
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) == ["hello", "new"]
        assert contents(cyd.waiting()) == ["hello", "new"]
        running = server.hub.running(room)
        assert running is not None
        with trio.fail_after(1):
            await running.wait_idle()  # the copy that went to some of them counts as delivered


async def fall_behind(server: TestServer, room: str, connection: MemoryConnection) -> None:
    """Fill a client's connection, until it has to read on in the store."""
    connection.stalled = True
    large = [
        Draft(message_id=new_id(), room_id=room, sender_id="u", sender_name="n", content="x" * 4_000)
        for _ in range(2 * QUICK.outbox_bytes // 4_000)
    ]
    await server.store.messages.append(room, large)
    await wait_all_tasks_blocked()


def lose_data(memory: MemoryServer) -> None:
    memory.go_down()
    memory.come_back(with_memory=False)


async def received(connection: MemoryConnection, content: str) -> int:
    """Let a client read on; return how often it has received a message since the last call."""
    connection.take()
    await trio.sleep(1)
    return contents(connection.waiting()).count(content)


@pytest.mark.parametrize("caught_up", [False, True], ids=["still behind", "caught up"])
@pytest.mark.parametrize("losses", [1, 2])
async def test_what_is_sent_again_after_a_loss_reaches_who_was_behind(
    autojump_clock: MockClock, caught_up: bool, losses: int
) -> None:
    """It reaches who did not get it the first time, and nobody for the second time."""
    memory = MemoryServer()
    async with memory_server(memory=memory, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        before, after = ({"roomId": room, "messageId": new_id(), "content": content} for content in ("before", "after"))
        await ada.ask("send", **before)
        await fall_behind(server, room, bob)
        await ada.ask("send", **after)
        for _ in range(losses):
            lose_data(memory)
        if caught_up:
            assert await received(bob, "after") == 0
        assert (await ada.ask("send", **after))["duplicate"] is False
        assert await received(bob, "after") == 1
        assert (await ada.ask("send", **before))["duplicate"] is False
        assert await received(bob, "before") == 0
        lose_data(memory)
        for again in (before, after):
            assert (await ada.ask("send", **again))["duplicate"] is False
        assert [await received(bob, content) for content in ("before", "after")] == [0, 0]


async def test_what_was_sent_again_after_each_loss_reaches_who_joined_between_them(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        first, second = ({"roomId": room, "messageId": new_id(), "content": content} for content in ("first", "second"))
        await ada.ask("send", **first)
        lose_data(memory)
        cyd = await server.sign_in("Cyd")
        await cyd.ask("join", roomId=room)
        await ada.ask("send", **second)
        lose_data(memory)
        for again in (first, second):
            assert (await ada.ask("send", **again))["duplicate"] is False
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) == ["first", "second"]
        assert contents(cyd.waiting()) == ["second", "first"]


class Counting:
    """A filter that counts the messages that it lets through, as a slow mode does."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self.counted: list[str] = []
        self.retried: list[str] = []

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        (self.retried if draft.retry else self.counted).append(draft.content)
        return msgspec.structs.replace(draft, content=f"{draft.content}!")


class Refusing:
    """A filter that refuses as long as it is closed."""

    evanesce_sees_content = True

    def __init__(self) -> None:
        self.closed = True
        self.retries: list[bool] = []

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> None:
        self.retries.append(draft.retry)
        if self.closed:
            raise Rejected("Not now.", retry_after=1)


async def test_a_message_that_another_filter_refused_is_no_new_one_for_those_that_let_it_through(
    autojump_clock: MockClock,
) -> None:
    counting, refusing = Counting(), Refusing()
    async with memory_server(plugins={"counting": counting, "refusing": refusing}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        mine = {"roomId": room, "messageId": new_id(), "content": "hello"}
        for _ in range(2):
            refused = await ada.ask("send", **mine)
            assert (refused["code"], refused["retryAfter"]) == ("rejected", 1)
        refusing.closed = False
        assert (await ada.ask("send", **mine))["type"] == "sent"
        assert (await bob.until("message"))["content"] == "hello!"
        assert (counting.counted, counting.retried) == (["hello"], ["hello", "hello"])
        assert refusing.retries == [False, False, False]  # it has let nothing through before


async def test_nor_is_one_that_the_store_refused(autojump_clock: MockClock) -> None:
    counting = Counting()
    async with memory_server(plugins={"counting": counting}, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("mute", roomId=room, userId=(await bob.ask("profile"))["userId"], seconds=5)
        mine = {"roomId": room, "messageId": new_id(), "content": "hello"}
        assert (await bob.ask("send", **mine))["code"] == "muted"
        await trio.sleep(6)
        assert (await bob.ask("send", **mine))["type"] == "sent"
        assert (counting.counted, counting.retried) == (["hello"], ["hello"])


async def test_other_content_another_sender_and_what_was_stored_are_new(autojump_clock: MockClock) -> None:
    """Otherwise an id that is used again and again would be counted once only."""
    counting, refusing = Counting(), Refusing()
    plugins = {"counting": counting, "refusing": refusing}
    async with memory_server(plugins=plugins, limits=QUICK, messages=MessagesTable(ttl=2.0)) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        mine = {"roomId": room, "messageId": new_id()}
        assert (await ada.ask("send", **mine, content="hello"))["code"] == "rejected"
        assert (await ada.ask("send", **mine, content="other"))["code"] == "rejected"
        assert (await bob.ask("send", **mine, content="other"))["code"] == "rejected"
        refusing.closed = False
        for _ in range(3):
            assert (await ada.ask("send", **mine, content="other"))["duplicate"] is False
            await trio.sleep(3)
        assert counting.counted == ["hello", "other", "other", "other", "other"]
        assert counting.retried == ["other"]


async def test_the_messages_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce.plugins.repeats.MOST_REMEMBERED", 2)
    let_through = LetThrough()
    drafts = [
        Draft(message_id=str(number), room_id="r", sender_id="s", sender_name="n", content="c") for number in range(3)
    ]
    for draft in drafts:
        let_through.plugins(draft).add("slow")
    assert [let_through.plugins(draft) for draft in (drafts[1], drafts[2], drafts[0])] == [{"slow"}, {"slow"}, set()]
