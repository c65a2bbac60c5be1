"""The account of the guest at a terminal, which exists as long as its token."""

from __future__ import annotations

import trio

from evanesce.client.connection import Fields
from evanesce.confidential import Confidential
from evanesce.model import milliseconds

RETRY_SECONDS = 60.0
"""When to try again to renew a token, if that was refused."""


class GuestAccount(Confidential):
    """A guest called `name`. `token` is None before the sign-in, and after the token was refused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.token: str | None = None
        self._renew_at = 0.0

    def hello(self) -> Fields:
        """Return the command that signs in: as before, or else as a new guest."""
        if self.token is None:
            return {"type": "hello", "credential": {"provider": "guest", "displayName": self.name}}
        return {"type": "hello", "token": self.token}

    def keep(self, reply: Fields, now: str) -> None:
        """Keep the token of `welcome` or `token`, if there is one. `now` is the time of the server."""
        if "token" in reply:
            self.token = reply["token"]
            life = milliseconds(reply["tokenExpiresAt"]) - milliseconds(now)
            self._renew_at = trio.current_time() + life / 2000

    @property
    def renew_in(self) -> float:
        """The seconds until half of the token's lifetime is over; negative after that."""
        return self._renew_at - trio.current_time()

    def postpone_renewal(self) -> None:
        """Renew the token a little later, in case it is refused now."""
        self._renew_at += RETRY_SECONDS
