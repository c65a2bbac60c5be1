"""The rules of rooms in virtual time: who is told them, what they allow to write, and where they come from."""

from __future__ import annotations

import base64

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import MessagesTable
from evanesce.hookspecs import hookimpl
from evanesce.model import Draft, milliseconds
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, come_in, join_room, of_type, refusal, user_id

PLAIN = {"messageTtl": 60.0, "access": "link", "locked": False, "encrypted": False}


async def test_members_are_told_new_rules_once_and_who_joins_gets_them(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository, limits=QUICK) as one,
        memory_server(memory=memory, repository=repository, limits=QUICK) as two,
    ):
        room, [ada, bob] = await join_room(one, "Ada", "Bob")
        cyd = await two.sign_in("Cyd")
        assert (await cyd.ask("join", roomId=room))["room"] == PLAIN
        reply = await ada.ask("update_room", roomId=room, messageTtl=5, locked=True)
        assert {name: reply[name] for name in PLAIN} == PLAIN | {"messageTtl": 5.0, "locked": True}
        await wait_all_tasks_blocked()
        told = {"roomId": room, "messageTtl": 5.0, "access": "link", "locked": True}
        for client in (bob, cyd):
            assert of_type(client, "room_updated") == [told]
        again = await cyd.ask("join", roomId=room)
        assert again["room"] == PLAIN | {"messageTtl": 5.0, "locked": True}
        sent = await cyd.ask("send", roomId=room, content="short")
        await ada.ask("update_room", roomId=room)  # changes nothing
        await wait_all_tasks_blocked()
        assert of_type(bob, "room_updated") == []
        assert sent["expiresAt"][17:19] != sent["createdAt"][17:19]


async def test_a_message_lives_as_long_as_its_room_or_its_sender_says(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, messages=MessagesTable(shortest_ttl=2.0)) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, messageTtl=10)
        await bob.ask("send", roomId=room, content="ten")
        await bob.ask("send", roomId=room, content="three", ttl=3)
        for wrong in (1.9, 10.1, -1, 0):
            error = await bob.ask("send", roomId=room, content="wrong", ttl=wrong)
            assert (error["code"], error["field"]) == ("bad_request", "ttl")
        await trio.sleep(3.5)
        cyd = await server.sign_in("Cyd")
        joined = await cyd.ask("join", roomId=room)
        assert [message["content"] for message in joined["messages"]] == ["ten"]
        await trio.sleep(7)
        joined = await cyd.ask("join", roomId=room)
        assert joined["messages"] == []


async def test_a_reply_names_the_message_that_it_answers(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        first = await ada.ask("send", roomId=room, content="question")
        await wait_all_tasks_blocked()
        ada.waiting()
        await bob.ask("send", roomId=room, content="answer", replyTo=first["messageId"])
        await wait_all_tasks_blocked()
        assert [message.get("replyTo") for message in of_type(ada, "message")] == [first["messageId"]]
        joined = await ada.ask("join", roomId=room)
        assert [message.get("replyTo") for message in joined["messages"]] == [None, first["messageId"]]


async def test_a_store_that_lost_its_memory_gets_the_rules_from_the_database(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        await ada.ask("update_room", roomId=room, messageTtl=7, locked=True)
        await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=600)
        memory.go_down()
        memory.come_back(with_memory=False)
        await trio.sleep(2)
        eve = await server.sign_in("Eve")
        assert (await refusal(bob, "join", roomId=room))[0] == "banned"
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"
        assert (await cyd.ask("join", roomId=room))["room"] == PLAIN | {"messageTtl": 7.0, "locked": True}


@pytest.mark.parametrize("changes", [False, True])
async def test_a_database_that_was_restored_is_obeyed_though_its_versions_are_lower(
    changes: bool, autojump_clock: MockClock
) -> None:
    """On all servers: at the next change, and without one within a minute."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada] = await join_room(one, "Ada")
        bob = await come_in(two, "Bob", room)
        await ada.ask("update_room", roomId=room, messageTtl=30)
        old = repository.chat_rooms[room]
        for locked in (True, False, True):
            await ada.ask("update_room", roomId=room, locked=locked, messageTtl=20)
        repository.chat_rooms[room] = old
        if changes:
            assert (await ada.ask("update_room", roomId=room, messageTtl=40))["messageTtl"] == 40
        else:
            await trio.sleep(65)
        expected = PLAIN | {"messageTtl": 40.0 if changes else 30.0}
        await wait_all_tasks_blocked()
        for client in (ada, bob):
            assert (await client.ask("join", roomId=room))["room"] == expected
        await come_in(two, "Cyd", room)
        assert (await ada.ask("update_room", roomId=room, locked=True))["locked"] is True
        eve = await two.sign_in("Eve")
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"


class Shouting:
    """A filter that knows nothing of encryption."""

    evanesce_sees_content = True

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft:
        return msgspec.structs.replace(draft, content=f"{draft.content}!")


async def test_no_filter_puts_plain_text_into_an_encrypted_room(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, plugins={"shouting": Shouting()}) as server:
        ada = await server.sign_in("Ada")
        room = (await ada.ask("create_room", encrypted=True))["roomId"]
        await ada.ask("join", roomId=room)
        sealed = base64.urlsafe_b64encode(bytes(12 + 256 + 16)).decode().rstrip("=")
        assert (await refusal(ada, "send", roomId=room, content=sealed))[0] == "rejected"


async def test_a_shorter_longest_ttl_holds_for_rooms_that_chose_a_longer_one(autojump_clock: MockClock) -> None:
    """So does another default: what the store has of the rules is from before."""
    memory, repository = MemoryServer(), MemoryRepository()
    rooms: list[str] = []
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as before:
        ada = await before.sign_in("Ada")
        for options in ({"messageTtl": 600}, {"access": "invite"}):
            rooms.append((await ada.ask("create_room", **options))["roomId"])
            await ada.ask("join", roomId=rooms[-1])
    shorter = MessagesTable(ttl=5.0, longest_ttl=20.0)
    async with memory_server(limits=QUICK, memory=memory, repository=repository, messages=shorter) as after:
        ada = await after.sign_in("Ada")
        for room, ttl in zip(rooms, (20.0, 5.0), strict=True):
            assert (await ada.ask("room", roomId=room))["messageTtl"] == ttl
            assert (await ada.ask("join", roomId=room))["room"]["messageTtl"] == ttl
            sent = await ada.ask("send", roomId=room, content="hello")
            lifetime = milliseconds(sent["expiresAt"]) - milliseconds(sent["createdAt"])
            assert lifetime == ttl * 1000
