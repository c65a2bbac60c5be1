"""The state of the World ID sign-in, for `evanesce check` and `/readyz`, with an explanation of common faults."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce_plugins.worldid.portal import Portal, PortalUnavailable, Status
from evanesce_plugins.worldid.settings import PORTALS, WorldIdSettings

FRESH_SECONDS = 30.0
"""How long a response of the portal is cached, in seconds: `/readyz` may be requested every second."""

CLOCK_SECONDS = 60.0
"""How far the clock may be off; World's nodes refuse a request that is 5 minutes old or from the future."""

_ACTIVE = "registered"


class Health:
    """Checks the registration at the portal. `address` is the signer's, `clock` returns seconds since 1970."""

    def __init__(self, settings: WorldIdSettings, address: str, portal: Portal, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._address = address
        self._portal = portal
        self._clock = clock
        self._said = ""
        self._asked_at = -math.inf

    async def check(self) -> str:
        """Return the state in a few words. Raises `AuthUnavailable`, with what to do."""
        if trio.current_time() - self._asked_at < FRESH_SECONDS:
            return self._said
        self._said = self._judge(await self._status())
        self._asked_at = trio.current_time()
        return self._said

    async def _status(self) -> Status:
        try:
            return await self._portal.status()
        except AuthFailed:
            raise AuthUnavailable(
                f"{self._settings.portal} does not know {self._settings.rp_id}: correct plugins.worldid.rp_id, or "
                f"register it there.{self._elsewhere()}"
            ) from None
        except PortalUnavailable as error:
            hint = "Correct plugins.worldid.api_url, or let this server reach it."
            raise AuthUnavailable(f"{self._settings.portal}: {error.problem}. {hint}") from None

    def _judge(self, status: Status) -> str:
        environment = self._settings.environment
        own, other = status.production, status.staging
        if environment == "staging":
            own, other = other, own
        if own != _ACTIVE:
            hint = f"{self._settings.rp_id} is {own or 'not registered'} in {environment}"
            if other == _ACTIVE:
                raise AuthUnavailable(
                    f"{hint}, but active in the other environment: set plugins.worldid.environment, or register it."
                )
            raise AuthUnavailable(f"{hint}: activate it in World's developer portal.")
        off = 0.0 if status.time is None else self._clock() - status.time
        if abs(off) > CLOCK_SECONDS:
            raise AuthUnavailable(
                f"this machine's clock is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}: set it, or World's "
                "nodes refuse its requests (timestamp_too_old, timestamp_too_far_in_future)."
            )
        return (
            f"{self._settings.rp_id} is active in {environment}; requests are signed by {self._address}, which must be "
            "the signer in World's developer portal (else people see invalid_rp_signature)"
        )

    def _elsewhere(self) -> str:
        if self._settings.portal not in PORTALS.values():
            return ""
        return f" It is the portal of {self._settings.environment}: is that the environment that was meant?"
