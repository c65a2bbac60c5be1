"""What the servers tell each other about accounts and sign-ins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from evanesce.confidential import Confidential

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


Notice = TokenRevoked | UserErased | UserRenamed
"""What is announced to every server."""


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

        That an id is missing from the answer proves nothing: the store may have lost its data since.
        """
        ...
