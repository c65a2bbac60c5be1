"""Repositories cancelled at each of their awaits: nobody gets another's answer, and nothing is written by halves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec
import trio

from evanesce.interfaces import Repository
from evanesce.model import Registration, RoomActivity
from evanesce.testing.contracts.base import PATIENCE
from evanesce.testing.contracts.repository.parts import RepositoryParts
from evanesce.testing.contracts.rows import a_ban, a_room, a_session, a_user, a_user_ban, an_invite, at, its_end
from evanesce.testing.leaks import cancelled_at, cancelled_at_each_await

AT_ONCE = 10
PROVIDER = "worldid"

numbers = count()
Operation = Callable[[], Awaitable[object]]


async def ask(repository: Repository) -> None:
    """Write and read rows that nobody else has."""
    user, new = await repository.sign_in(a_user(f"neighbour-{next(numbers)}"))
    assert new
    assert await repository.user(user.user_id) == user
    room = a_room(user)
    assert await repository.create_room(room, 10)
    assert await repository.room(room.room_id) == room


async def ask_again_and_again(repository: Repository) -> None:
    """Write and read again and again, until cancelled."""
    while True:
        await ask(repository)


async def settled(*reads: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Read until nothing changes: a server may still carry out a request whose caller was cancelled."""
    before: list[Any] = []
    while (now := [await read() for read in reads]) != before:
        before = now
    return now


class Operations:
    """Each method of a repository as an operation, and what must hold after it, wherever it was cancelled.

    Every operation has rows of its own, so that it can be repeated; `check` reads those of the last one.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.check: Operation | None = None

    async def check_last(self) -> None:
        """Check the rows of the last operation, which may have been cancelled; this is not."""
        check, self.check = self.check, None
        with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
            if check is not None:
                await check()

    async def sign_in(self) -> None:
        repository, number = self._repository, next(numbers)
        user = a_user(f"human-{number}")
        code = f"code-{number}"

        async def all_or_nothing() -> None:
            found, exists = await settled(
                lambda: repository.find_registration(PROVIDER, code), lambda: repository.has_account(user.world_id)
            )
            assert (found is not None) == exists

        self.check = all_or_nothing
        await repository.sign_in(user, PROVIDER, Registration(value=f"value-{number}", account_code=code))

    async def change_registration(self) -> None:
        repository, number = self._repository, next(numbers)
        code, old, new = f"changed-{number}", f"old-{number}", f"new-{number}"
        user, _ = await repository.sign_in(a_user(), PROVIDER, Registration(value=old, account_code=code))

        async def all_or_nothing() -> None:
            [found] = await settled(lambda: repository.find_registration(PROVIDER, code))
            assert found is not None
            assert found.value in (old, new)

        self.check = all_or_nothing
        assert await repository.change_registration(PROVIDER, user.user_id, new, old)

    async def erase_user(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)

        async def all_or_nothing() -> None:
            found, opened = await settled(lambda: repository.user(user.user_id), lambda: repository.room(room.room_id))
            assert (found is None) == (opened is None)

        self.check = all_or_nothing
        assert await repository.erase_user(user.user_id, at(1)) == [room.room_id]

    async def record(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)
        server = f"server-{next(numbers)}"
        sessions = [a_session(user, room, server=server) for _ in range(3)]

        async def all_or_nothing() -> None:
            found, servers = await settled(lambda: repository.room(room.room_id), repository.servers_in_sessions)
            active = found == msgspec.structs.replace(room, active=True)
            assert (server in servers) == active
            assert await repository.end_sessions(server, at(9), 10) == (2 if active else 0)

        self.check = all_or_nothing
        activity = RoomActivity(room_id=room.room_id, active=True)
        await repository.record([*sessions, its_end(sessions[0], at(5)), activity])

    async def update_user(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        wanted = msgspec.structs.replace(user, display_name="Another", email="another@example.org")

        async def all_or_nothing() -> None:
            assert await repository.user(user.user_id) in (user, wanted)

        self.check = all_or_nothing
        assert await repository.update_user(wanted) == wanted

    async def close_room(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)

        async def all_or_nothing() -> None:
            found, opened = await settled(
                lambda: repository.room(room.room_id), lambda: repository.open_rooms([room.room_id])
            )
            assert list(opened) == ([] if found is None else [room.room_id])

        self.check = all_or_nothing
        assert await repository.close_room(room.room_id, at(1))

    async def create_room(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)

        async def all_or_nothing() -> None:
            found, _ = await repository.rooms(user.user_id, None, 10)
            assert found in ([], [room])

        self.check = all_or_nothing
        assert await repository.create_room(room, 1)

    async def update_room(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)
        wanted = msgspec.structs.replace(room, locked=True, message_ttl=9.0)
        changed = msgspec.structs.replace(wanted, rules_version=1)

        async def all_or_nothing() -> None:
            assert await repository.room(room.room_id) in (room, changed)

        self.check = all_or_nothing
        assert await repository.update_room(wanted) == changed

    async def admit(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)
        invite = an_invite(room, 2)
        await repository.create_invite(invite, 10)

        async def all_or_nothing() -> None:
            [left], [admitted] = await settled(
                lambda: repository.invites(room.room_id, at(1)),
                lambda: repository.admitted([(room.room_id, user.user_id)]),
            )
            assert left.used == int(admitted)

        self.check = all_or_nothing
        assert await repository.admit(room.room_id, user.user_id, invite.invite_id, at(1), 10)

    async def ban(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)
        ban = a_ban(room, user)

        async def all_or_nothing() -> None:
            found, versions = await settled(
                lambda: repository.bans(room.room_id, at(1)), lambda: repository.open_rooms([room.room_id])
            )
            assert versions == {room.room_id: len(found)}

        self.check = all_or_nothing
        assert await repository.ban(ban, 10) == 1

    async def unban(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        room = a_room(user)
        await repository.create_room(room, 10)
        ban = a_ban(room, user)
        await repository.ban(ban, 10)

        async def all_or_nothing() -> None:
            found, versions = await settled(
                lambda: repository.bans(room.room_id, at(1)), lambda: repository.open_rooms([room.room_id])
            )
            assert versions == {room.room_id: 2 - len(found)}

        self.check = all_or_nothing
        assert await repository.unban(room.room_id, ban.subject, at(1))

    async def ban_user(self) -> None:
        repository = self._repository
        user, _ = await repository.sign_in(a_user())
        ban = a_user_ban(user)

        async def all_or_nothing() -> None:
            assert await repository.user_ban(ban.subject) in (None, ban)

        self.check = all_or_nothing
        await repository.ban_user(ban)

    async def bind_redis(self) -> None:
        repository = self._repository
        bound = await repository.bound_redis()
        identity = f"redis-{next(numbers)}"

        async def all_or_nothing() -> None:
            now = await repository.bound_redis()
            before = None if bound is None else bound.identity
            assert (None if now is None else now.identity) in (before, identity)

        self.check = all_or_nothing
        assert await repository.bind_redis(identity, None if bound is None else bound.identity)

    def all(self) -> dict[str, Operation]:
        """Return the operations by the names of the methods."""
        repository = self._repository
        return {
            "sign_in": self.sign_in,
            "user": lambda: repository.user("nobody", "none"),
            "signed_in": lambda: repository.signed_in([("nobody", "none"), ("nobody", "another")]),
            "has_account": lambda: repository.has_account("nobody"),
            "find_registration": lambda: repository.find_registration(PROVIDER, "none"),
            "change_registration": self.change_registration,
            "account_code": lambda: repository.account_code("nobody"),
            "spend": lambda: repository.spend(PROVIDER, "nobody", f"proof-{next(numbers)}", "attempt"),
            "update_user": self.update_user,
            "erase_user": self.erase_user,
            "revoke_sign_in": lambda: repository.revoke_sign_in(f"sign-in-{next(numbers)}", at(60_000)),
            "create_room": self.create_room,
            "room": lambda: repository.room("none"),
            "open_rooms": lambda: repository.open_rooms(["none", "another"]),
            "rooms": lambda: repository.rooms("nobody", None, 10),
            "close_room": self.close_room,
            "update_room": self.update_room,
            "create_invite": lambda: repository.create_invite(an_invite(a_room(a_user())), 10),
            "invites": lambda: repository.invites("none", at(1)),
            "revoke_invite": lambda: repository.revoke_invite("none", "none", at(1)),
            "admit": self.admit,
            "raise_rules_version": lambda: repository.raise_rules_version("none", 2),
            "admit_members": lambda: repository.admit_members("none", ["nobody"], at(1), 10),
            "admitted": lambda: repository.admitted([("none", "nobody"), ("none", "another")]),
            "ban": self.ban,
            "bans": lambda: repository.bans("none", at(1)),
            "ban_user": self.ban_user,
            "unban_user": lambda: repository.unban_user("none"),
            "user_ban": lambda: repository.user_ban("none"),
            "user_bans": lambda: repository.user_bans("zzz", 10),
            "find_user": lambda: repository.find_user("nobody"),
            "all_users": lambda: repository.all_users("zzz", 10),
            "all_rooms": lambda: repository.all_rooms("zzz", 10, active=True),
            "unban": self.unban,
            "delete_ended_rules": lambda: repository.delete_ended_rules(at(-1), 10),
            "record": self.record,
            "servers_in_sessions": repository.servers_in_sessions,
            "end_sessions": lambda: repository.end_sessions("none", at(1), 10),
            "lost": lambda: repository.lost([("none", "nobody")], at(1), ["none"]),
            "active_rooms": lambda: repository.active_rooms("", 10),
            "renew_links": lambda: repository.renew_links("https://chat.example/r/", 1),
            "delete_sessions": lambda: repository.delete_sessions(at(-1), 10),
            "delete_rooms": lambda: repository.delete_rooms(at(-1), 10),
            "unused_guests": lambda: repository.unused_guests(at(-1), 0, 10),
            "delete_guests": lambda: repository.delete_guests(1),
            "bound_redis": repository.bound_redis,
            "bind_redis": self.bind_redis,
            "release_redis": lambda: repository.release_redis("none"),
            "purge": repository.purge,
            "check": repository.check,
            "try_write": repository.try_write,
        }


class CancelledRows(RepositoryParts):
    """Calls that are cancelled at each of their awaits: nobody gets another's answer, nothing is written by halves."""

    async def test_no_caller_gets_the_answer_of_one_that_was_cancelled(self, repository: Repository) -> None:
        operations = Operations(repository)
        for name, operation in operations.all().items():

            async def body(operation: Operation = operation) -> None:
                await operations.check_last()
                await operation()

            awaits = await cancelled_at_each_await(body)
            assert awaits >= 1, f"{name} waits for nothing"
            with trio.fail_after(PATIENCE):
                await operations.check_last()
                async with trio.open_nursery() as nursery:
                    for _ in range(AT_ONCE):
                        nursery.start_soon(ask, repository)

    async def test_nor_while_others_ask(self, repository: Repository) -> None:
        """Their answers are under way when a call is cancelled."""
        async with trio.open_nursery() as others:
            for _ in range(3):
                others.start_soon(ask_again_and_again, repository)
            number = 1
            while await cancelled_at(number, lambda: ask(repository)):
                number += 1
            others.cancel_scope.cancel()
        assert number > 4, "it waits for each of its calls"
        with trio.fail_after(PATIENCE):
            await ask(repository)
