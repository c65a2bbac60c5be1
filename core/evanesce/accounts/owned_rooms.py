"""What all commands about the rules of rooms have in common: who may use them, about whom, and how often."""

from __future__ import annotations

from evanesce.accounts.service import AccountService, Principal
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode, RateLimited
from evanesce.limits.budgets import TOO_FAST
from evanesce.limits.distributed import DistributedRateLimit
from evanesce.model import Ban, ChatRoom, User
from evanesce.rooms.requests import room_not_found

CREATOR, VOTE = "creator", "vote"
"""The reasons of a removal."""

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


async def take(limit: DistributedRateLimit, key: str) -> None:
    """Count a command. Raises `RateLimited`."""
    wait = await limit.take(key)
    if wait:
        raise RateLimited(TOO_FAST, wait)
