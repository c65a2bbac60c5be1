"""Invites to rooms, in virtual time."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts import room_invites
from evanesce.model import Timestamp
from evanesce.rooms.admissions import secret_hash
from evanesce.testing.server import memory_server
from tests.core.accounts.people import QUICK, gather


async def test_an_invite_is_a_link_whose_secret_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", access="invite", join=False)
        reply = await people.ask("Ada", "invite", people=3, seconds=600)
        link, _, secret = reply["link"].partition("#invite=")
        assert link == (await people.ask("Ada", "room"))["deepLink"]
        assert len(secret) == 22
        assert (reply["people"], reply["left"]) == (3, 3)
        described = {name: reply[name] for name in ("roomId", "inviteId", "people", "left", "expiresAt")}
        assert (await people.ask("Ada", "invites"))["invites"] == [described]
        [stored] = await server.repository.invites(people.room_id, Timestamp("2000"))
        assert stored.secret_hash == secret_hash(secret)
        assert (await people.ask("Bob", "join", invite=secret))["type"] == "joined"
        assert (await people.ask("Ada", "invites"))["invites"] == [described | {"left": 2}]
        await trio.sleep(1)
        other = await people.ask("Ada", "invite")
        assert other["link"] != reply["link"]
        assert [one["inviteId"] for one in (await people.ask("Ada", "invites"))["invites"]][-1] == reply["inviteId"]
        wrong = await people.ask("Bob", "join", invite=secret + "x")
        assert secret not in str(wrong)
        assert secret not in repr(server.repository.__dict__)
        assert secret not in server.gateway.metrics()
        assert secret not in caplog.text


async def test_an_invite_ends_by_time_by_use_and_when_it_is_revoked(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", access="invite", join=False)

        async def secret(**fields: Any) -> tuple[str, str]:
            reply = await people.ask("Ada", "invite", **fields)
            return reply["link"].partition("#invite=")[2], reply["inviteId"]

        expired, _ = await secret(seconds=60)
        used, _ = await secret(people=1)
        revoked, invite_id = await secret(people=5)
        assert (await people.ask("Cyd", "join", invite=used))["type"] == "joined"
        for _ in range(2):  # the answer to the first one may have been lost
            assert (await people.ask("Ada", "revoke_invite", inviteId=invite_id))["type"] == "ok"
        await trio.sleep(61)
        assert (await people.ask("Ada", "invites"))["invites"] == []
        for one in (expired, used, revoked, "", "nonsense"):
            assert await people.refused("Bob", "join", invite=one) == ("invite_spent", None)
        # An invite of another room is none of this one's.
        other = (await people.clients["Ada"].ask("create_room"))["roomId"]
        elsewhere = (await people.clients["Ada"].ask("invite", roomId=other))["link"].partition("#invite=")[2]
        assert await people.refused("Bob", "join", invite=elsewhere) == ("invite_spent", None)


async def test_a_room_has_a_hundred_live_invites_and_a_creator_may_replace_them(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada")
        ids = [(await people.ask("Ada", "invite"))["inviteId"] for _ in range(room_invites.MOST_INVITES)]
        assert await people.refused("Ada", "invite") == ("rate_limited", None)
        await trio.sleep(60)
        assert await people.refused("Ada", "invite") == ("conflict", None)
        listed = (await people.ask("Ada", "invites"))["invites"]
        assert {one["inviteId"] for one in listed} == set(ids)
        await people.ask("Ada", "revoke_invite", inviteId=ids[0])
        assert (await people.ask("Ada", "invite"))["type"] == "invite"
