"""The commands for the rules of rooms, in virtual time: who may send them, over what, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.accounts import room_rules
from evanesce.errors import RateLimited
from evanesce.protocol import commands
from evanesce.testing.server import memory_server
from tests.core.accounts.people import BY_CREATOR, NOBODY, QUICK, Watcher, gather, vote_out


@pytest.mark.parametrize("kind", BY_CREATOR)
async def test_only_the_creator_may_and_only_in_an_open_room(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Eve")
        fields = dict(BY_CREATOR[kind])
        if "userId" in fields:
            fields["userId"] = people.ids["Eve"]
        before = dict(server.repository.chat_rooms), list(server.repository.room_bans)
        assert await people.refused("Bob", kind, **fields) == ("forbidden", None)
        assert (dict(server.repository.chat_rooms), list(server.repository.room_bans)) == before
        assert (await people.clients["Ada"].ask(kind, **fields, roomId=NOBODY))["code"] == "room_not_found"
        assert (await people.ask("Ada", kind, **fields))["type"] != "error"
        await people.ask("Ada", "close_room")
        assert await people.refused("Ada", kind, **fields) == ("room_not_found", None)


@pytest.mark.parametrize("kind", ["remove_member", "mute"])
async def test_the_creator_is_neither_removed_nor_muted(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        fields = {**BY_CREATOR[kind], "userId": people.ids["Ada"]}
        assert await people.refused("Ada", kind, **fields) == ("bad_request", "userId")
        assert (await people.ask("Ada", "members"))["memberCount"] == 2
        assert (await people.ask("Ada", "send", content="hello"))["type"] == "sent"


async def test_who_is_no_member_is_not_told_of_a_room_by_a_vote(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", join=False)
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Ada"]) == ("not_member", None)


async def test_the_commands_need_no_connection(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        tokens = {
            name: str(
                (
                    await server.gateway.sign_in({"provider": "name", "name": name}, bearer=None, address="::1")
                ).reply.token
            )
            for name in people.clients
        }

        async def execute(command: commands.Command, name: str = "Ada") -> Any:
            return await server.gateway.execute(command, bearer=tokens[name], address="::1")

        room, dan = people.room_id, people.ids["Dan"]
        assert (await execute(commands.UpdateRoom(room_id=room, locked=True))).locked
        invite = await execute(commands.CreateInvite(room_id=room))
        assert [one.invite_id for one in (await execute(commands.ListInvites(room_id=room))).invites] == [
            invite.invite_id
        ]
        await execute(commands.RevokeInvite(room_id=room, invite_id=invite.invite_id))
        await execute(commands.Mute(room_id=room, user_id=dan, seconds=60))
        await people.ask("Ada", "leave")
        for name in ("Bob", "Cyd"):
            await execute(commands.VoteRemove(room_id=room, user_id=dan), name)
        await wait_all_tasks_blocked()
        assert [ban.user_id for ban in (await execute(commands.ListBans(room_id=room))).bans] == [dan]
        await execute(commands.Unban(room_id=room, user_id=dan))
        assert (await execute(commands.ListBans(room_id=room))).bans == []
        await execute(commands.RemoveMember(room_id=room, user_id=people.ids["Bob"]))
        await wait_all_tasks_blocked()
        assert [told["reason"] for told in people.told("Bob", "removed")] == ["creator"]
        for _ in range(room_rules.CHANGES_A_MINUTE - 4):
            await execute(commands.UpdateRoom(room_id=room))
        with pytest.raises(RateLimited):
            await execute(commands.UpdateRoom(room_id=room))


async def test_observers_are_told_of_invites_removals_and_bans(autojump_clock: MockClock) -> None:
    watcher = Watcher()
    async with memory_server(limits=QUICK, plugins={"watcher": watcher}) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan", "Eve")
        room, ids = people.room_id, people.ids
        invite = await people.ask("Ada", "invite", people=2)
        await people.ask("Ada", "remove_member", userId=ids["Bob"])
        await people.ask("Ada", "remove_member", userId=ids["Cyd"], banSeconds=60)
        [ban] = (await people.ask("Ada", "bans"))["bans"]
        assert await people.refused("Ada", "remove_member", userId=NOBODY) == ("bad_request", "userId")
        await wait_all_tasks_blocked()
        assert watcher.told == [
            ("invite", room, invite["inviteId"], 2, invite["expiresAt"]),
            ("removed", room, ids["Bob"], "creator"),
            ("removed", room, ids["Cyd"], "creator"),
            ("banned", room, ids["Cyd"], "creator", ban["until"]),
        ]
        watcher.told.clear()
        assert (await people.ask("Bob", "join"))["type"] == "joined"
        await people.ask("Ada", "leave")
        await vote_out(people, "Dan", "Bob", "Eve")
        assert [event[:4] for event in watcher.told] == [
            ("removed", room, ids["Dan"], "vote"),
            ("banned", room, ids["Dan"], "vote"),
        ]
