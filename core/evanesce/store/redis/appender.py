"""Stores messages, with their content encrypted if a cipher is there.

A message is sent with the TTL that its room has as far as this server knows: the key of its content, and the time at
which it is to be erased, depend on it. Where the store has another one, or the message is too late for its key, nothing
is stored, and the message is sent again with what the store has told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.model import Draft, Timestamp, milliseconds
from evanesce.store.message_log import Conflict, Muted, Outcome, RoomClosed, Stored
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import APPEND, GRACE, Command, new_epoch
from evanesce.store.sealing.interface import ContentCipher

TRIES = 3
"""How often messages are sent, if the store has another TTL for them, or they come too late for their key."""

_AGAIN = b"again "
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)

logger = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()

Done = Callable[[Outcome | RoomClosed | StoreUnavailable], None]
"""What is called with the outcome of a message that is stored alone."""


class _Told(NamedTuple):
    """What the store tells of its time (0: nothing), and of a room's TTL, both in milliseconds.

    `version` is that of the rules that the caller knows.
    """

    now: int
    ttl: int
    version: int


class Appender:
    """Stores messages in rooms. `ttl` is that of rooms without one of their own; see `RedisMessageLog` for the rest."""

    def __init__(
        self, client: Client, keys: Keys, clock: Clock, ttl: int, *, keep: int, cipher: ContentCipher | None
    ) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._ttl = ttl
        self._keep = keep
        self._cipher = cipher

    async def append(
        self, room_id: str, drafts: Sequence[Draft], ttl: int | None, version: int
    ) -> Sequence[Outcome] | RoomClosed:
        """Store messages in one call of a script; see `MessageLog.append`."""
        told = _Told(0, self._ttl if ttl is None else ttl, version)
        with Deadline():
            for _ in range(TRIES):
                [answers] = await self._client.run(self._command(room_id, drafts, told))
                if (again := _again(answers, version)) is None:
                    return self._outcomes(answers)
                told = again
        raise StoreUnavailable

    def append_one(self, room_id: str, draft: Draft, done: Done, ttl: int | None, version: int) -> None:
        """See `MessageLog.append_one`."""
        self._append_one(room_id, draft, done, TRIES, _Told(0, self._ttl if ttl is None else ttl, version))

    def _append_one(self, room_id: str, draft: Draft, done: Done, tries: int, told: _Told) -> None:
        def answered(answer: Any) -> None:
            if isinstance(answer, StoreUnavailable):
                done(answer)
                return
            if (again := _again(answer, told.version)) is not None:
                try:
                    if tries == 1:
                        raise StoreUnavailable
                    self._append_one(room_id, draft, done, tries - 1, again)
                except StoreUnavailable as error:
                    done(error)
                except BaseException:  # a defect: nobody may wait for an answer
                    done(StoreUnavailable())
                    raise
                return
            try:
                outcomes = self._outcomes(answer)
            except _MALFORMED as error:  # whoever may write to Redis may have changed a message
                logger.error("an answer of the message store cannot be read: %s", folded(error))
                done(StoreUnavailable())
                return
            done(outcomes if isinstance(outcomes, RoomClosed) else outcomes[0])

        self._client.call(self._command(room_id, [draft], told), answered)

    def _command(self, room_id: str, drafts: Sequence[Draft], told: _Told) -> Command:
        keys = self._keys.of_messages(room_id)
        arguments: list[str | bytes] = []
        own: list[int] | None = None
        latest = 0
        for place, draft in enumerate(drafts):
            ttl = told.ttl
            if draft.ttl is not None:
                own = own or [0] * len(drafts)
                own[place] = max(1, round(draft.ttl * 1000))
                ttl = min(ttl, own[place])
                draft = msgspec.structs.replace(draft, ttl=None)  # the times that are stored tell it
            if self._cipher is not None:
                draft, end = self._cipher.seal(draft, ttl, told.now)
                latest = min(latest or end - ttl, end - ttl)
            keys += self._keys.of_message(room_id, draft.message_id)
            # Its JSON without the closing brace: the script adds the times and the brace.
            arguments += draft.message_id, draft.sender_id, _encoder.encode(draft)[:-1]
        each = " ".join(map(str, own)) if own else ""
        return APPEND.call(
            keys, new_epoch(), self._keep, self._ttl, GRACE, told.ttl, latest, each, told.version, *arguments
        )

    def _outcomes(self, answers: Any) -> Sequence[Outcome] | RoomClosed:
        if answers is None:
            return RoomClosed()
        created_at, expires_at = _timestamp(answers[0]), _timestamp(answers[1])
        self._clock.witnessed(milliseconds(created_at))
        stored = Stored(created_at, expires_at, duplicate=False)
        return [_outcome(answer, stored) for answer in answers[2:]]


def _timestamp(raw: bytes) -> Timestamp:
    return Timestamp(raw.decode())


def _again(answer: Any, version: int) -> _Told | None:
    """Return what a store tells that has not stored messages because of their times; None where it did all else."""
    if not isinstance(answer, bytes) or not answer.startswith(_AGAIN):
        return None
    now, ttl = answer[len(_AGAIN) :].split()
    return _Told(int(now), int(ttl), version)


def _outcome(answer: Any, stored: Stored) -> Outcome:
    if answer == 1:
        return stored
    if answer == 0:
        return Conflict()
    if isinstance(answer, int):
        return Muted(answer)
    if isinstance(answer, bytes):
        return Stored(stored.created_at, _timestamp(answer), duplicate=False)
    return Stored(_timestamp(answer[0]), _timestamp(answer[1]), duplicate=True)
