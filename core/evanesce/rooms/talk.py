"""What is said in a room: messages, withdrawals and typing, on their way to the store."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.errors import CommandError, ErrorCode, StoreUnavailable
from evanesce.frame import Outgoing
from evanesce.protocol import events
from evanesce.rooms.errors import not_member
from evanesce.rooms.membership import Membership
from evanesce.rooms.requests import Post, Subscriber, Withdraw, Write
from evanesce.rooms.surroundings import Surroundings
from evanesce.store.base import Conflict, Gone

TYPING_SECONDS = 3.0
"""How often the others are told that the same person is typing."""


class Talk:
    """The writes of one room. Only the task that works through the room's inbox calls it."""

    def __init__(self, room_id: str, members: Membership, around: Surroundings) -> None:
        self._room_id = room_id
        self._members = members
        self._store = around.store
        self._metrics = around.metrics
        self._typed_at: dict[str, float] = {}
        self.unheard: set[str] = set()
        """The ids of messages that went to the store and have not been told to the members yet."""

    async def post(self, requests: Sequence[Post]) -> None:
        """Store messages in one call, and answer each."""
        present: list[Post] = []
        for request in requests:
            if self._members.of(request.subscriber) is None:
                request.subscriber.refuse(request.ref, not_member())
            else:
                present.append(request)
        if not present:
            return
        ids = [request.draft.message_id for request in present]
        self.unheard.update(ids)
        try:
            outcomes = await self._store.append(self._room_id, [request.draft for request in present])
        except StoreUnavailable as error:
            self.unheard.difference_update(ids)
            for request in present:
                request.subscriber.refuse(request.ref, error)
            return
        if isinstance(outcomes, Gone):
            self.unheard.difference_update(ids)
            for request in present:
                request.subscriber.refuse(request.ref, not_member())
            return
        self._metrics.groups.inc()
        replies: dict[Subscriber, list[Outgoing]] = {}
        accepted = 0
        for request, outcome in zip(present, outcomes, strict=True):
            if isinstance(outcome, Conflict) or outcome.duplicate:
                self.unheard.discard(request.draft.message_id)
            if isinstance(outcome, Conflict):
                taken = CommandError(ErrorCode.CONFLICT, "This messageId is taken. Send the message with another one.")
                request.subscriber.refuse(request.ref, taken)
                continue
            accepted += not outcome.duplicate
            sent = events.Sent(
                ref=request.ref,
                room_id=self._room_id,
                message_id=request.draft.message_id,
                created_at=outcome.created_at,
                expires_at=outcome.expires_at,
                duplicate=outcome.duplicate,
            )
            replies.setdefault(request.subscriber, []).append(Outgoing(sent))
        self._metrics.accepted.inc(accepted)
        for subscriber, answers in replies.items():
            subscriber.answer(answers, requests=len(answers))

    async def withdraw(self, request: Withdraw) -> None:
        """Take a message back."""
        subscriber = request.subscriber
        try:
            done = await self._store.withdraw(self._room_id, request.message_id, subscriber.user_id)
        except StoreUnavailable as error:
            subscriber.refuse(request.ref, error)
            return
        if isinstance(done, Gone):
            subscriber.refuse(request.ref, not_member())
        elif done is None:
            message = "There is no such message any more."
            subscriber.refuse(request.ref, CommandError(ErrorCode.MESSAGE_NOT_FOUND, message))
        elif not done:
            message = "Only who sent a message can take it back."
            subscriber.refuse(request.ref, CommandError(ErrorCode.FORBIDDEN, message))
        else:
            subscriber.answer([Outgoing(events.Ok(ref=request.ref))])

    async def write(self, request: Write) -> None:
        """Tell the others that somebody is typing, not too often."""
        subscriber = request.subscriber
        now = trio.current_time()
        if now - self._typed_at.get(subscriber.user_id, -TYPING_SECONDS) >= TYPING_SECONDS:
            self._typed_at = {user: at for user, at in self._typed_at.items() if now - at < TYPING_SECONDS}
            self._typed_at[subscriber.user_id] = now
            try:
                await self._store.writing(self._room_id, subscriber.user_id)
            except StoreUnavailable as error:
                subscriber.refuse(request.ref, error)
                return
        subscriber.answer([] if request.ref is None else [Outgoing(events.Ok(ref=request.ref))])
