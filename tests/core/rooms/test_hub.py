"""The Hub's lists of sessions: whom a notice is about is found without looking at anybody else."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from trio.testing import MockClock

from evanesce.errors import CloseCode
from evanesce.model import User, timestamp
from evanesce.rooms.room import Room
from evanesce.store.control_bus import Notice, NoticesLost, TokenRevoked, UserErased, UserRenamed
from evanesce.testing.server import memory_server


class Watched:
    """A session that notes when it is looked at or told something."""

    def __init__(self, name: str, sign_in_id: str) -> None:
        self.name = name
        self.sign_in = sign_in_id
        self.touched = 0
        self.ended: CloseCode | None = None
        self.named = ""

    @property
    def user_id(self) -> str:
        self.touched += 1
        return self.name

    @property
    def display_name(self) -> str:
        self.touched += 1
        return self.named

    @property
    def sign_in_id(self) -> str:
        self.touched += 1
        return self.sign_in

    @property
    def rooms(self) -> Collection[Room]:
        self.touched += 1
        return ()

    def renamed(self, display_name: str) -> None:
        self.touched += 1
        self.named = display_name

    def end(self, code: CloseCode, reason: str) -> None:
        self.touched += 1
        self.ended = code


@pytest.mark.parametrize(
    ("notice", "about"),
    [
        (TokenRevoked("sign-in 7"), {"user 7"}),
        (UserErased("user 8"), {"user 8"}),
        (UserRenamed("user 9", "Nine"), {"user 9"}),
        (TokenRevoked("unknown"), set[str]()),
        (UserErased("unknown"), set[str]()),
        (UserRenamed("unknown", "Nobody"), set[str]()),
        (NoticesLost(), set[str]()),
    ],
)
async def test_a_notice_looks_at_nobody_else(
    autojump_clock: MockClock, notice: Notice | NoticesLost, about: set[str]
) -> None:
    async with memory_server() as server:
        hub = server.hub
        sessions = [Watched(f"user {number}", f"sign-in {number}") for number in range(500)]
        for session in sessions:
            assert await hub.admit(session)
        for session in sessions:
            session.touched = 0
        hub.handle_notice(notice)
        assert {session.name for session in sessions if session.touched} == about
        for session in sessions:
            hub.dismiss(session)
        assert (hub.sign_ins, hub.user_ids) == ([], [])


async def test_a_session_is_found_by_the_sign_in_that_it_has_now(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        hub = server.hub
        now = timestamp(server.store.clock.now())
        ada = User(user_id="ada", world_id="ada", display_name="Ada", created_at=now, last_active=now)
        await server.repository.sign_in(ada)
        session, other = Watched("ada", "first"), Watched("ada", "first")
        for one in (session, other):
            assert await hub.admit(one)
        session.sign_in = "second"
        hub.signed_in_anew(session, "first")
        assert sorted(hub.sign_ins) == [("ada", "first"), ("ada", "second")]
        hub.handle_notice(TokenRevoked("first"))
        assert (session.ended, other.ended) == (None, CloseCode.SIGN_IN_AGAIN)
        hub.handle_notice(TokenRevoked("second"))
        assert session.ended is CloseCode.SIGN_IN_AGAIN
        for one in (session, other):
            hub.dismiss(one)
        assert (hub.sign_ins, hub.user_ids, hub.sessions_of("ada")) == ([], [], [])


async def test_a_further_hello_moves_a_session_to_its_new_sign_in(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        here = await server.sign_in("Ada")
        [(user_id, first)] = server.hub.sign_ins
        await here.ask("hello", credential={"provider": "name", "name": "Ada"})
        [(same_user, second)] = server.hub.sign_ins
        assert same_user == user_id
        assert second != first
        server.hub.handle_notice(TokenRevoked(first))
        assert (await here.ask("ping"))["type"] == "pong"
        server.hub.handle_notice(TokenRevoked(second))
        assert (await here.end())[0] == 4401
