"""Challenges: kept in the store until they expire, and answered once, on whichever server the answer arrives."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from evanesce.errors import BadRequest, CommandError, StoreUnavailable
from evanesce.interfaces import Answered, Challenge
from evanesce.model import timestamp
from evanesce.store.clock import Clock
from evanesce.store.one_time_values import OneTimeValues

logger = logging.getLogger(__name__)

ATTEMPTS = 8
"""How many ids are tried for a challenge: in a cluster a part of them may belong to an unavailable primary."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Challenges:
    """The challenges of all providers. Every method raises `StoreUnavailable`."""

    def __init__(self, values: OneTimeValues, clock: Clock) -> None:
        self._values = values
        self._clock = clock

    async def issue(self, provider: str, challenge: Challenge) -> dict[str, Any]:
        """Store the part of a challenge that the server keeps; return the fields for the client."""
        if challenge.kept is None:
            return dict(challenge.fields)
        expires_at = self._clock.now() + round(challenge.seconds * 1000)
        challenge_id = await self._keep(provider, expires_at, challenge.kept)
        return {**challenge.fields, "challengeId": challenge_id, "expiresAt": timestamp(expires_at)}

    async def _keep(self, provider: str, expires_at: int, kept: bytes) -> str:
        """Store a challenge under a new id that the store accepts; return the id."""
        for _ in range(ATTEMPTS - 1):
            challenge_id = str(uuid.uuid4())
            with suppress(StoreUnavailable):
                await self._put(provider, challenge_id, expires_at, kept)
                return challenge_id
        challenge_id = str(uuid.uuid4())
        await self._put(provider, challenge_id, expires_at, kept)
        return challenge_id

    @asynccontextmanager
    async def answer(self, provider: str, credential: Mapping[str, Any]) -> AsyncGenerator[Answered | None]:
        """Take the challenge that a credential answers; None where there is none that has not expired.

        No other request can answer it during the context, and afterwards it is used up. If the context ends without a
        decision (a fault, a cancellation, a malformed credential), it is put back.
        """
        challenge_id = credential.get("challengeId")
        if not isinstance(challenge_id, str) or not _ID.fullmatch(challenge_id):
            yield None
            return
        taken = await self._values.take(_key(provider, challenge_id))
        if taken is None:
            yield None
            return
        expires_at, _, kept = taken.partition(b" ")
        try:
            yield Answered(challenge_id, kept)
        except BaseException as error:
            if not _decided(error):
                await self._put_back(provider, challenge_id, int(expires_at), kept)
            raise

    async def _put_back(self, provider: str, challenge_id: str, expires_at: int, kept: bytes) -> None:
        with trio.CancelScope(shield=True):  # bounded: no call of the store takes longer than 2.5 s
            try:
                await self._put(provider, challenge_id, expires_at, kept)
            except StoreUnavailable:
                logger.warning("the store is down: a challenge of %r is lost", provider)

    async def _put(self, provider: str, challenge_id: str, expires_at: int, kept: bytes) -> None:
        seconds = (expires_at - self._clock.now()) / 1000
        if seconds > 0:
            await self._values.put(_key(provider, challenge_id), b"%d %b" % (expires_at, kept), seconds)


def _decided(error: BaseException) -> bool:
    """Return whether the same answer would get the same error again."""
    return isinstance(error, CommandError) and not error.code.retry and not isinstance(error, BadRequest)


def _key(provider: str, challenge_id: str) -> str:
    return f"challenge:{provider}:{challenge_id}"
