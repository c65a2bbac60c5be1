"""Ending a sign-in: its tokens are revoked in the database, and its connections are closed on all servers."""

from __future__ import annotations

from evanesce.accounts.control import ControlPublisher
from evanesce.accounts.tokens import Claims, Tokens
from evanesce.interfaces import Repository
from evanesce.model import Timestamp
from evanesce.store.clock import Clock
from evanesce.store.control_bus import TokenRevoked


class Revocation:
    """Ends sign-ins. Every method raises `PersistenceUnavailable`."""

    def __init__(self, repository: Repository, publisher: ControlPublisher, tokens: Tokens, clock: Clock) -> None:
        self._repository = repository
        self._publisher = publisher
        self._tokens = tokens
        self._clock = clock

    async def sign_out(self, claims: Claims) -> None:
        """End the sign-in of a token."""
        await self._end(claims.sid, self._tokens.last_use(claims))

    async def end(self, sign_in_id: str) -> None:
        """End a sign-in of which only the id is known."""
        await self._end(sign_in_id, self._tokens.last_use_from(self._clock.now()))

    async def _end(self, sign_in_id: str, until: Timestamp) -> None:
        await self._repository.revoke_sign_in(sign_in_id, until)
        await self._publisher.publish(TokenRevoked(sign_in_id))
