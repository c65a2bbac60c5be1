"""What the servers tell each other about accounts and sign-ins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from evanesce.confidential import Confidential
from evanesce.model import Timestamp

REVOCATION_SECONDS = 24 * 3600
"""How long the store keeps revocations: as long as servers trust what they have cached."""


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """All tokens of a sign-in are invalid from now on."""

    sign_in_id: str


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user's account was erased."""

    user_id: str


@dataclass(frozen=True, slots=True, repr=False)
class UserRenamed(Confidential):
    """A user has a new name."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class UserBanned:
    """A user may not connect until `until`. A time in the past ends an earlier ban.

    The mark that the store keeps of it ends at that time.
    """

    user_id: str
    until: Timestamp


@dataclass(frozen=True, slots=True)
class UserDisconnected:
    """An operator ends all connections of a user, who may connect again."""

    user_id: str


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """An operator takes servers out of service: the one with this name, its workers, or all where it is empty."""

    server: str


Notice = TokenRevoked | UserErased | UserRenamed | UserBanned | UserDisconnected | DrainRequested
"""What is announced to every server."""


def ban_mark(user_id: str) -> str:
    """Return the id by which `ControlBus.revoked` knows a user who is banned."""
    return f"ban:{user_id}"


@dataclass(frozen=True, slots=True)
class NoticesLost:
    """Notices may have been lost before this: look up what they may have said."""


class ControlBus(Protocol):
    """Notices from each server to all."""

    async def announce(self, notice: Notice) -> None:
        """Send a notice to every server, including this one. Revocations are also kept, for `revoked`."""
        ...

    async def next_notice(self) -> Notice | NoticesLost:
        """Wait for the next notice from any server. There is no time limit, and it raises only `trio.Cancelled`.

        `NoticesLost` is returned whenever this server begins to listen, at first and after an interruption, and when
        notices had to be dropped because too many were waiting.
        """
        ...

    async def revoked(self, ids: Sequence[str]) -> Collection[str]:
        """Return those ids, of sign-ins and of users, whose end was announced within `REVOCATION_SECONDS`.

        They may also be the ids of `ban_mark`, for users whose ban was announced within that time and has not ended.

        That an id is missing from the answer proves nothing: the store may have lost its data since.
        """
        ...
