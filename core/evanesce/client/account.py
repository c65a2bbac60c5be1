"""How a client signs in: with a token, a credential, or what the application returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from evanesce.client.clock import ServerClock
from evanesce.client.events import seconds
from evanesce.confidential import Confidential

SignIn = Callable[[], Awaitable[dict[str, Any]]]
"""Returns how to sign in: `{"token": …}` or `{"credential": {"provider": …}}`."""

RENEWED_PART = 0.8
"""After which part of its remaining life a token is renewed."""

UNKNOWN_LIFE_SECONDS = 3600.0
"""When a token is renewed whose life is unknown, because the application brought it: its life is known after that."""

LONGEST_RETRY = 60.0
SHORTEST_RETRY = 1.0
"""If a renewal was refused, it is tried again after half of what is left of the token's life, within these bounds."""


class Account(Confidential):
    """The sign-in of a client. `token` is the present token, None before the first sign-in and after it was refused."""

    def __init__(self, token: str | None, credential: dict[str, Any] | None, sign_in: SignIn | None) -> None:
        if token is None and credential is None and sign_in is None:
            raise TypeError("give a token, a credential or sign_in")
        self.token = token
        self.user_id = ""
        self._credential = credential
        self._sign_in = sign_in
        self._again = False
        self._renew_at = 0.0  # by the server's clock, as the next one
        self._ends_at = 0.0

    def replace(self, token: str | None, credential: dict[str, Any] | None) -> None:
        """Sign in with something else from now on; without both as before."""
        self.token = token
        self._credential = credential or self._credential
        self._again = False
        self._renew_at = 0.0

    async def hello(self) -> dict[str, Any]:
        """Return the command that signs in."""
        if self.token is None and self._credential is None and self._sign_in is not None:
            given = await self._sign_in()
            return {"type": "hello"} | {key: given[key] for key in ("token", "credential") if key in given}
        if self.token is None:
            return {"type": "hello", "credential": self._credential}
        return {"type": "hello", "token": self.token}

    def welcomed(self, welcome: dict[str, Any], hello: dict[str, Any], clock: ServerClock) -> None:
        """Take the reply to `hello`. Raises `KeyError` and `ValueError`."""
        self.user_id = str(welcome["userId"])
        self._again = False
        self.token = hello.get("token", self.token)
        if not self._renew_at:
            self._renew_at = clock.now() + UNKNOWN_LIFE_SECONDS
            self._ends_at = clock.now() + 2 * UNKNOWN_LIFE_SECONDS
        self.keep(welcome, clock)

    def keep(self, reply: dict[str, Any], clock: ServerClock) -> None:
        """Keep the token of a reply, if there is one. Raises `KeyError` and `ValueError`."""
        if "token" in reply:
            self.token = str(reply["token"])
            self._ends_at = seconds(reply["tokenExpiresAt"])
            self._renew_at = clock.now() + max(self._ends_at - clock.now(), 0.0) * RENEWED_PART

    def renewal_is_due(self, clock: ServerClock) -> bool:
        """Return whether the token should be renewed now. In case that fails, it is due again a little later."""
        now = clock.now()
        if now < self._renew_at:
            return False
        self._renew_at = now + min(LONGEST_RETRY, max(SHORTEST_RETRY, (self._ends_at - now) / 2))
        return True

    def refused(self) -> bool:
        """Note that the server has refused the sign-in, and return whether to try once with a new one."""
        if self._again or (self._credential is None and self._sign_in is None):
            return False
        self._again = True
        self.token = None
        self._renew_at = 0.0
        return True
