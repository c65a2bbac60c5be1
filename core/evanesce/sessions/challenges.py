"""Challenges: kept in the store for a while, and answered once, on whichever server the answer arrives."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from evanesce.errors import BadRequest, CommandError, StoreUnavailable
from evanesce.interfaces import Answered, Challenge
from evanesce.model import timestamp
from evanesce.store.base import MessageStore

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Challenges:
    """The challenges of all providers. Every method raises `StoreUnavailable`."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    async def issue(self, provider: str, challenge: Challenge) -> dict[str, Any]:
        """Keep what is to be kept; give what goes to the client."""
        if challenge.kept is None:
            return dict(challenge.fields)
        challenge_id = str(uuid.uuid4())
        expires_at = self._store.now() + round(challenge.seconds * 1000)
        await self._put(provider, challenge_id, expires_at, challenge.kept)
        return {**challenge.fields, "challengeId": challenge_id, "expiresAt": timestamp(expires_at)}

    @asynccontextmanager
    async def answer(self, provider: str, credential: Mapping[str, Any]) -> AsyncGenerator[Answered | None]:
        """Take the challenge that a credential answers; None where there is none that is live.

        While the context lasts nobody else has it, and afterwards it is used up; except where the context ends without
        having decided anything (a fault, a cancellation, a malformed credential): then it is put back.
        """
        challenge_id = credential.get("challengeId")
        if not isinstance(challenge_id, str) or not _ID.fullmatch(challenge_id):
            yield None
            return
        taken = await self._store.take(_key(provider, challenge_id))
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
        seconds = (expires_at - self._store.now()) / 1000
        if seconds > 0:
            await self._store.put(_key(provider, challenge_id), b"%d %b" % (expires_at, kept), seconds)


def _decided(error: BaseException) -> bool:
    """Whether the same answer would get the same error again."""
    return isinstance(error, CommandError) and not error.code.retry and not isinstance(error, BadRequest)


def _key(provider: str, challenge_id: str) -> str:
    return f"challenge:{provider}:{challenge_id}"
