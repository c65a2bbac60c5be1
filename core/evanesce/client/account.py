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

RETRY_SECONDS = 60.0
"""When to try again to renew a token, if that was refused."""


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
        self._renew_at = 0.0  # by the server's clock

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
        self._renew_at = self._renew_at or clock.now() + UNKNOWN_LIFE_SECONDS
        self.keep(welcome, clock)

    def keep(self, reply: dict[str, Any], clock: ServerClock) -> None:
        """Keep the token of a reply, if there is one. Raises `KeyError` and `ValueError`."""
        if "token" in reply:
            self.token = str(reply["token"])
            left = seconds(reply["tokenExpiresAt"]) - clock.now()
            self._renew_at = clock.now() + max(left, 0.0) * RENEWED_PART

    def renewal_is_due(self, clock: ServerClock) -> bool:
        """Return whether the token should be renewed now. In case that fails, it is due again a little later."""
        due = clock.now() >= self._renew_at
        if due:
            self._renew_at = clock.now() + RETRY_SECONDS
        return due

    def refused(self) -> bool:
        """Note that the server has refused the sign-in, and return whether to try once with a new one."""
        if self._again or (self._credential is None and self._sign_in is None):
            return False
        self._again = True
        self.token = None
        self._renew_at = 0.0
        return True
