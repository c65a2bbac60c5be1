"""Bans from all servers in the repository in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import msgspec

from evanesce.model import User, UserBan


class MemoryUserBans:
    """The methods of `MemoryRepository` that are about bans from all servers. `banned` has them by subject."""

    users: dict[str, User]

    def __init__(self) -> None:
        self.banned: dict[str, UserBan] = {}

    @abstractmethod
    async def _answer(self) -> None: ...

    async def ban_user(self, ban: UserBan) -> None:
        """See `Repository.ban_user`."""
        await self._answer()
        user_id = ban.user_id if ban.user_id in self.users else None
        self.banned[ban.subject] = msgspec.structs.replace(ban, user_id=user_id)

    async def unban_user(self, subject: str) -> bool:
        """See `Repository.unban_user`."""
        await self._answer()
        return self.banned.pop(subject, None) is not None

    async def user_ban(self, subject: str) -> UserBan | None:
        """See `Repository.user_ban`."""
        await self._answer()
        return self.banned.get(subject)

    async def user_bans(self, after: str, count: int) -> Sequence[UserBan]:
        """See `Repository.user_bans`."""
        await self._answer()
        return [self.banned[subject] for subject in sorted(self.banned) if subject > after][:count]

    def _with_ban(self, user: User | None) -> User | None:
        """Return a user with the end of the user's ban."""
        if user is None:
            return None
        ends = [ban.until for ban in self.banned.values() if ban.user_id == user.user_id]
        return msgspec.structs.replace(user, banned_until=max(ends, default=None))

    def _erase_from_user_bans(self, user_id: str) -> None:
        for subject, ban in self.banned.items():
            if ban.user_id == user_id:
                self.banned[subject] = msgspec.structs.replace(ban, user_id=None)
