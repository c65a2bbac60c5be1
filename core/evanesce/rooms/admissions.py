"""Who was admitted to rooms that only admit who was invited."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Collection
from hashlib import sha256

from evanesce.context import ServerContext
from evanesce.errors import CommandError, ErrorCode
from evanesce.gate import Gate
from evanesce.interfaces import MOST_CHECKED
from evanesce.lookups import Lookups
from evanesce.model import timestamp

MOST_ADMITTED = 10_000
"""How many people a room admits."""

MOST_KNOWN = 100_000
"""How many admissions this server remembers; those that were not used for the longest time go first."""


REDEMPTIONS = 16
"""How many people are admitted by invites at the same time: each of them takes the database two calls."""

MOST_REDEMPTIONS_WAITING = 1_000
"""How many further ones wait for that; others are refused."""


def secret_hash(secret: str) -> str:
    """Return what is stored of the secret of an invite. It is random enough for a hash without salt."""
    return sha256(secret.encode()).hexdigest()


class Admissions:
    """The admissions of all rooms. An admission is never taken back, so those that were found once are remembered."""

    def __init__(self, context: ServerContext) -> None:
        self._repository = context.repository
        self._clock = context.store.clock
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._gate = Gate(REDEMPTIONS, MOST_REDEMPTIONS_WAITING, "Too many people are being admitted. Try again.")
        # After a restart, all members of all such rooms come back at once.
        self._lookups: Lookups[tuple[str, str], bool] = Lookups(self._repository.admitted, MOST_CHECKED)

    def is_known(self, room_id: str, user_id: str) -> bool:
        """Return whether a user is known to have been admitted. False says nothing."""
        key = room_id, user_id
        if key not in self._known:
            return False
        self._known.move_to_end(key)
        return True

    async def admit(self, room_id: str, user_id: str, secret: str | None) -> None:
        """Return if a user was admitted to a room before, or is admitted now by an invite.

        Raises `CommandError`: `invite_required`, `invite_spent`, `conflict`, `rate_limited` where too many are being
        admitted at the moment, or that the database does not answer.
        """
        if not await self._lookups.get((room_id, user_id)):
            if secret is None:
                raise CommandError(ErrorCode.INVITE_REQUIRED, "This room admits only those who were invited.")
            async with self._gate:
                await self._redeem(room_id, user_id, secret)
        self._known[room_id, user_id] = None
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    async def admit_members(self, room_id: str, user_ids: Collection[str]) -> None:
        """Admit those who are in a room. Raises `PersistenceUnavailable`."""
        now = timestamp(self._clock.now())
        await self._repository.admit_members(room_id, list(user_ids), now, MOST_ADMITTED)

    async def _redeem(self, room_id: str, user_id: str, secret: str) -> None:
        now = timestamp(self._clock.now())
        given, invite_id = secret_hash(secret), None
        for invite in await self._repository.invites(room_id, now):
            if hmac.compare_digest(invite.secret_hash, given):
                invite_id = invite.invite_id
        admitted: bool | None = False
        if invite_id is not None:
            admitted = await self._repository.admit(room_id, user_id, invite_id, now, MOST_ADMITTED)
        if admitted is None:
            raise CommandError(ErrorCode.CONFLICT, f"This room has admitted {MOST_ADMITTED} people: it admits no more.")
        if not admitted:
            message = "This invite has expired, is used up or was revoked. Ask for another one."
            raise CommandError(ErrorCode.INVITE_SPENT, message)
