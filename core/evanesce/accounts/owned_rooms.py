"""What all commands about the rules of rooms have in common: who may use them, about whom, and how often."""

from __future__ import annotations

from collections.abc import Callable

from evanesce.accounts.service import AccountService, Principal
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode, RateLimited
from evanesce.limits.budgets import TOO_FAST
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.model import Ban, ChatRoom, User
from evanesce.rooms.requests import room_not_found
from evanesce.store.rate_limits import RateLimits

CREATOR, VOTE = "creator", "vote"
"""The reasons of a removal."""

ROOMS_AT_ONCE = 3
"""In how many rooms at once a person may do as much as is allowed in one of them.

Each command writes to the database, or tells all members, and a person may have many rooms.
"""

MOST_BANS = 10_000
"""How many bans a room has that have not ended."""


class OwnedRooms:
    """The rooms of users as the commands about their rules need them, and the people whom the commands concern."""

    def __init__(self, context: ServerContext, accounts: AccountService) -> None:
        self._repository = context.repository
        self._plugins = context.plugins
        self._accounts = accounts

    async def owned(self, room_id: str, principal: Principal) -> ChatRoom:
        """Return a room that the user has created. Raises `room_not_found` and `forbidden`."""
        room = await self._accounts.room(room_id)
        if room.created_by != principal.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "Only the creator of a room can do this.")
        return room

    async def known_user(self, user_id: str) -> User:
        """Return the user whom a command names. Raises `BadRequest`."""
        user = await self._repository.user(user_id)
        if user is None:
            raise BadRequest("userId", "There is no such user.")
        return user

    async def full(self, room_id: str, message: str) -> CommandError:
        """Return why the database has stored nothing for a room: the room was closed, or it is full of something."""
        if await self._repository.room(room_id) is None:
            return room_not_found()
        return CommandError(ErrorCode.CONFLICT, message)

    def observe_removal(self, ban: Ban, *, banned: bool) -> None:
        """Tell the plugins of a removal, and of the ban if it has brought one."""
        about = {"room_id": ban.room_id, "user_id": ban.user_id, "reason": ban.reason}
        self._plugins.observe("evanesce_member_removed", **about)
        if banned:
            self._plugins.observe("evanesce_member_banned", **about, until=ban.until)


class RoomLimit:
    """A rate limit of the commands of one person about one room, and about all rooms together, over all servers.

    It allows `a_minute` commands in a minute for a room, as many at once, and `ROOMS_AT_ONCE` times that for a person.
    """

    def __init__(self, name: str, a_minute: int, shared: RateLimits, clock: Callable[[], float]) -> None:
        def limit(name: str, most: int) -> DistributedRateLimit:
            return DistributedRateLimit(name, most / 60, most, shared, clock)

        self._of_person = limit(f"{name}_of_person", ROOMS_AT_ONCE * a_minute)
        self._of_room = limit(name, a_minute)

    async def take(self, room_id: str, user_id: str) -> None:
        """Count a command. Raises `RateLimited`."""
        wait = await self._of_person.take(user_id) or await self._of_room.take(f"{room_id}:{user_id}")
        if wait:
            raise RateLimited(TOO_FAST, wait)
