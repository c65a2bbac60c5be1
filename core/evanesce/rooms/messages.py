"""The messages of a room on their way to the store: sent, unsent, and notices of typing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Protocol, TypeVar

import trio

from evanesce import tracing
from evanesce.context import ServerContext
from evanesce.delivery.frame import Outgoing
from evanesce.errors import CommandError, ErrorCode, StoreUnavailable
from evanesce.protocol import events
from evanesce.protocol.commands import Ref
from evanesce.rooms.kept_replies import KeptReplies
from evanesce.rooms.membership import Membership
from evanesce.rooms.policy import RoomPolicy, mute_refusal
from evanesce.rooms.requests import (
    JoinRequest,
    Reply,
    Request,
    ResendRequest,
    SendRequest,
    Subscriber,
    TypingRequest,
    UnsendRequest,
    not_member,
)
from evanesce.rooms.subscription import Deliverable
from evanesce.rooms.typing_times import TypingTimes
from evanesce.store.message_log import Conflict, LogEntry, Muted, Outcome, RoomClosed, Stored

SingleOutcome = Outcome | RoomClosed | StoreUnavailable
"""What a message that was sent alone may come to."""

T = TypeVar("T")


class Guard(Protocol):
    """Wraps a function of a room that another task calls: a fault in it ends that room alone."""

    def __call__(self, handle: Callable[[T], None], /) -> Callable[[T], None]:
        """Return the function to call in place of `handle`."""
        ...


class Messages:
    """The writes of one room. Only the task that handles the room's inbox calls its handlers of requests.

    `progress` is unparked when a message that was sent at once has its answer.
    """

    def __init__(
        self,
        room_id: str,
        members: Membership,
        policy: RoomPolicy,
        progress: trio.lowlevel.ParkingLot,
        replies: KeptReplies,
        context: ServerContext,
    ) -> None:
        self._room_id = room_id
        self._members = members
        self._policy = policy
        self._store = context.store
        self._metrics = context.metrics
        self._plugins = context.plugins if context.plugins.follows_messages else None
        self._typing_times = TypingTimes()
        self._progress = progress
        self.direct: SendRequest | None = None
        """The message that was sent by `send_at_once` and has no answer yet."""
        self._replies = replies
        self._reply: Reply | None = None  # to a message that is stored and was not delivered yet
        self.unpublished: set[str] = set()
        """The ids of messages that went to the store and have not been delivered to the members yet."""

    def reply_to_one_of(self, entries: Iterable[Deliverable]) -> Reply | None:
        """Return the reply that has waited for one of `entries`, to be written together with it."""
        if (reply := self._reply) is not None:
            for entry in entries:
                if isinstance(entry, LogEntry) and entry.message.message_id == reply.message_id:
                    self._reply = None
                    return reply
        return None

    def write_kept_reply(self) -> None:
        """Write the reply that waits for its message, if any."""
        if (reply := self._reply) is not None:
            self._reply = None
            reply.subscriber.answer([reply.sent])

    def published(self, entries: Iterable[Deliverable]) -> None:
        """Note that messages were delivered to the members."""
        for entry in entries:
            if isinstance(entry, LogEntry):
                self.unpublished.discard(entry.message.message_id)

    def send_at_once(self, request: SendRequest, guard: Guard) -> None:
        """Store a message of a member without waiting; one at a time. `guard` wraps what handles the answer."""
        self.direct = request
        self.unpublished.add(request.draft.message_id)

        def answered(outcome: SingleOutcome) -> None:
            self._answer_direct(request, outcome, guard)

        done = guard(answered)
        rules = self._policy.rules
        try:
            self._store.messages.append_one(self._room_id, request.draft, done, rules.message_ttl, rules.version)
        except StoreUnavailable as error:
            done(error)
        except BaseException:  # a defect: the room must not wait for an answer
            self.direct = None
            self.unpublished.discard(request.draft.message_id)
            raise

    async def direct_answered(self) -> None:
        """Wait for the answer to the message that was sent at once. The store bounds the wait."""
        while self.direct is not None:
            await self._progress.park()

    def _answer_direct(self, request: SendRequest, outcome: SingleOutcome, guard: Guard) -> None:
        if self.direct is not request:
            return  # the room was abandoned meanwhile
        self.direct = None
        self.write_kept_reply()  # before this answer, also where it is a refusal
        if isinstance(outcome, StoreUnavailable):
            self._refuse_all([request], outcome)
        elif isinstance(outcome, RoomClosed):
            self._refuse_all([request], not_member())
        else:
            self._metrics.groups.inc()
            if (sent := self._settle(request, outcome)) is not None:
                if request.draft.message_id in self.unpublished:
                    self._reply = Reply(request.draft.message_id, request.subscriber, sent)
                    self._replies.add(self, guard)
                else:
                    request.subscriber.answer([sent])
        if self._progress:  # it is rare that a task waits
            self._progress.unpark_all()

    async def send(self, requests: Sequence[SendRequest]) -> None:
        """Store messages in one call, and answer each request."""
        present = [request for request in requests if self._is_member(request)]
        if not present:
            return
        ids = [request.draft.message_id for request in present]
        self.unpublished.update(ids)
        rules = self._policy.rules
        try:
            drafts = [request.draft for request in present]
            with tracing.taken_over("store", ids, ends=False):
                outcomes = await self._store.messages.append(self._room_id, drafts, rules.message_ttl, rules.version)
        except StoreUnavailable as error:
            self._refuse_all(present, error)
            return
        if isinstance(outcomes, RoomClosed):
            self._refuse_all(present, not_member())
            return
        self._metrics.groups.inc()
        replies: dict[Subscriber, list[Outgoing]] = {}
        for request, outcome in zip(present, outcomes, strict=True):
            if (sent := self._settle(request, outcome)) is not None:
                replies.setdefault(request.subscriber, []).append(sent)
        for subscriber, answers in replies.items():
            subscriber.answer(answers, requests=len(answers))

    def _settle(self, request: SendRequest, outcome: Outcome) -> Outgoing | None:
        """Count the outcome of a message, and return its reply; None where it was refused."""
        if not isinstance(outcome, Stored):
            self._forget(request)
            request.subscriber.refuse(request.ref, self._refusal(outcome))
            return None
        if outcome.duplicate:
            self._forget(request)
        else:
            self._metrics.accepted.inc()
            self._metrics.store_seconds.observe(perf_counter() - request.made_at)
        if self._plugins is not None:
            self._plugins.message_stored(
                request.draft, outcome.created_at, outcome.expires_at, duplicate=outcome.duplicate
            )
        return Outgoing(self._sent(request.ref, request.draft.message_id, outcome))

    def _refusal(self, outcome: Conflict | Muted) -> CommandError:
        if isinstance(outcome, Muted):
            return mute_refusal(outcome.until - self._store.clock.now())
        return CommandError(ErrorCode.CONFLICT, "This messageId is taken. Send the message with another one.")

    def _refuse_all(self, requests: Sequence[SendRequest], error: CommandError) -> None:
        for request in requests:
            self._forget(request)
            request.subscriber.refuse(request.ref, error)

    def _forget(self, request: SendRequest) -> None:
        """Note that a message will not be delivered: it was refused, or is stored already."""
        self.unpublished.discard(request.draft.message_id)
        end_span(request)

    def resend(self, requests: Sequence[ResendRequest]) -> None:
        """Answer messages that are stored already."""
        for request in requests:
            if self._is_member(request):
                sent = self._sent(request.ref, request.message_id, request.stored)
                request.subscriber.answer([Outgoing(sent)])

    def _sent(self, ref: Ref | None, message_id: str, stored: Stored) -> events.Sent:
        return events.Sent(
            ref=ref,
            room_id=self._room_id,
            message_id=message_id,
            created_at=stored.created_at,
            expires_at=stored.expires_at,
            duplicate=stored.duplicate,
        )

    async def unsend(self, requests: Sequence[UnsendRequest]) -> None:
        """Take messages back, each for its sender only."""
        for request in requests:
            if self._is_member(request):
                await self._unsend(request)

    async def _unsend(self, request: UnsendRequest) -> None:
        subscriber = request.subscriber
        try:
            done = await self._store.messages.unsend(self._room_id, request.message_id, subscriber.user_id)
        except StoreUnavailable as error:
            subscriber.refuse(request.ref, error)
            return
        if isinstance(done, RoomClosed):
            subscriber.refuse(request.ref, not_member())
        elif done is None:
            message = "This message does not exist any more."
            subscriber.refuse(request.ref, CommandError(ErrorCode.MESSAGE_NOT_FOUND, message))
        elif not done:
            message = "Only the sender of a message can take it back."
            subscriber.refuse(request.ref, CommandError(ErrorCode.FORBIDDEN, message))
        else:
            subscriber.answer([Outgoing(events.Ok(ref=request.ref))])

    async def typing(self, requests: Sequence[TypingRequest]) -> None:
        """Publish that users are typing, each not much more often than once in `TYPING_SECONDS`."""
        for request in requests:
            if self._is_member(request):
                await self._typing(request)

    async def _typing(self, request: TypingRequest) -> None:
        subscriber = request.subscriber
        if (refusal := self._policy.refusal_of(subscriber.user_id)) is not None:
            subscriber.refuse(request.ref, refusal)
            return
        if self._typing_times.is_due(subscriber.user_id, trio.current_time()):
            try:
                await self._store.events.typing(self._room_id, subscriber.user_id)
            except StoreUnavailable as error:
                subscriber.refuse(request.ref, error)
                return
        subscriber.answer([] if request.ref is None else [Outgoing(events.Ok(ref=request.ref))])

    def _is_member(self, request: Request) -> bool:
        """Return whether the subscriber is in the room; refuse the request where it is not."""
        if self._members.of(request.subscriber) is not None:
            return True
        end_span(request)
        request.subscriber.refuse(request.ref, not_member())
        return False


def end_span(request: Request) -> None:
    """End the span of a request that comes to nothing: a message or a join."""
    if tracing.active is not None and isinstance(request, SendRequest):
        tracing.active.end(request.draft.message_id, failure="not_stored")
    elif tracing.active is not None and isinstance(request, JoinRequest):
        tracing.active.end(request.number, failure="not_joined")
