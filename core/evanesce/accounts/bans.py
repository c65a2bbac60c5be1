"""Bans of people from all servers: who is banned, and how operators ban and unban.

The database has the ban first. It is looked up at each sign-in by the person, and with each token by the account. The
notice ends the connections that are open; servers that have missed it find the ban in the database (`Reconciliation`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evanesce.accounts.control import ControlPublisher
from evanesce.confidential import Confidential
from evanesce.context import ServerContext
from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.model import FOR_EVER, Timestamp, User, UserBan, timestamp
from evanesce.store.clock import Clock
from evanesce.store.control_bus import UserBanned
from evanesce.subjects import Subjects

LONGEST_SECONDS = 100 * 366 * 86_400
"""The longest ban that has an end: a hundred years."""

REASON_CHARACTERS = 200
"""The longest note of an operator about a ban."""

PERSON_CHARACTERS = 300
"""The longest text that names a person."""

_ENDED = timestamp(0)
"""The end of a ban that an operator has ended: before now by every clock."""

_SUBJECT = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_banned(user: User, clock: Clock) -> bool:
    """Return whether a user, as the database returned it, is banned now."""
    return user.banned_until is not None and user.banned_until > timestamp(clock.now())


def banned(until: Timestamp | None = None) -> CommandError:
    """Return the error for a user who is banned, with the end of the ban where it is known and there is one."""
    end = "" if until is None or until == FOR_EVER else f" until {until}"
    return CommandError(ErrorCode.FORBIDDEN, f"This account is banned from this server{end}.")


@dataclass(frozen=True, slots=True, repr=False)
class Person(Confidential):
    """A person as an operator names one: the subject of bans, and the account, None where there is none."""

    subject: str
    user: User | None


class UserBans:
    """The bans of people. Every method raises `CommandError`; where the database does not answer, nothing is done."""

    def __init__(self, context: ServerContext, publisher: ControlPublisher, subjects: Subjects) -> None:
        self._repository = context.repository
        self._clock = context.store.clock
        self._publisher = publisher
        self._subjects = subjects

    async def check(self, world_id: str) -> None:
        """Raise `forbidden` where the person with this `User.world_id` is banned."""
        ban = await self._repository.user_ban(self._subjects.of(world_id))
        if ban is not None and ban.until > timestamp(self._clock.now()):
            raise banned(ban.until)

    async def person(self, name: str) -> Person:
        """Return the person whom an operator names: by the user's id, by `provider:subject`, or by the id of a ban.

        World ID's identifier is the name of a person as well, where there is an account.
        """
        if _SUBJECT.fullmatch(name) and (ban := await self._repository.user_ban(name)) is not None:
            return Person(name, None if ban.user_id is None else await self._repository.user(ban.user_id))
        if not 0 < len(name) <= PERSON_CHARACTERS:
            raise BadRequest("user", f"A user is named by 1 to {PERSON_CHARACTERS} characters.")
        if _UUID.fullmatch(name):
            user = await self._repository.user(name)
        else:
            user = await self._repository.find_user(name)
            if user is None and ":" in name:
                return Person(self._subjects.of(name), None)
        if user is None:
            raise BadRequest("user", "There is no such user. Give a user's id, provider:subject, or the id of a ban.")
        return Person(self._subjects.of(user.world_id), user)

    async def ban(self, person: Person, seconds: float | None, reason: str) -> UserBan:
        """Ban a person for some seconds (None: without an end), in place of an earlier ban, and return the ban."""
        if seconds is not None and not 1 <= seconds <= LONGEST_SECONDS:
            raise BadRequest("seconds", f"A ban lasts 1 to {LONGEST_SECONDS} seconds.")
        if len(reason) > REASON_CHARACTERS or not reason.isprintable():
            raise BadRequest("reason", f"A reason has at most {REASON_CHARACTERS} characters, on one line.")
        now = self._clock.now()
        ban = UserBan(
            subject=person.subject,
            user_id=None if person.user is None else person.user.user_id,
            reason=reason,
            since=timestamp(now),
            until=FOR_EVER if seconds is None else timestamp(now + round(seconds * 1000)),
        )
        await self._repository.ban_user(ban)
        if ban.user_id is not None:
            await self._publisher.publish(UserBanned(ban.user_id, ban.until))
        return ban

    async def unban(self, person: Person) -> bool:
        """End the ban of a person, and return whether there was one."""
        found = await self._repository.unban_user(person.subject)
        if person.user is not None:
            await self._publisher.publish(UserBanned(person.user.user_id, _ENDED))
        return found

    async def of(self, person: Person) -> UserBan | None:
        """Return the ban of a person; None where there is none, or where it has ended."""
        ban = await self._repository.user_ban(person.subject)
        return ban if ban is not None and ban.until > timestamp(self._clock.now()) else None

    async def page(self, after: str, count: int) -> Sequence[UserBan]:
        """Return bans in the order of their ids, those after `after`, also some that have ended lately."""
        return await self._repository.user_bans(after, count)
