"""The subscriptions of one room that are behind, and read on in the store page by page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evanesce.context import ServerContext
from evanesce.delivery.frame import Frame, Outgoing, frames
from evanesce.errors import StoreUnavailable
from evanesce.protocol import events
from evanesce.rooms.membership import outgoing
from evanesce.rooms.subscription import Subscription
from evanesce.store.message_log import LogEntry, RoomClosed

PAGE_BYTES = 32 * 1024
"""How much history is sent at once, in bytes of JSON.

It is as much as the socket of a new connection takes whole. A frame that is half sent when its first message expires
ends the connection, so with larger frames a client with a slow network could never join a busy room.
"""

PAGE_MESSAGES = 100
"""How many messages are read at once for subscriptions that catch up after their `joined`."""

_RETRY_SECONDS = 1.0
_BACKLOG_SECONDS = 0.02


class Backlog:
    """The subscriptions that are behind. Only the task that handles the room's inbox calls what is async."""

    def __init__(self, room_id: str, context: ServerContext) -> None:
        self._room_id = room_id
        self._store = context.store
        self._behind: list[Subscription] = []
        self._stalled = False  # the store could not be read when it was last tried

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self._behind

    @property
    def pause(self) -> float:
        """For how many seconds there is nothing to do for `read_on`."""
        if not self._behind:
            return math.inf
        if self._stalled:
            return _RETRY_SECONDS
        return (
            _BACKLOG_SECONDS
            if all(subscription.subscriber.connection.backlogged for subscription in self._behind)
            else 0.0
        )

    def note(self, subscription: Subscription, *, caught_up: bool) -> None:
        """Note whether a subscription is behind: then it reads on."""
        if caught_up:
            self.forget(subscription)
        elif subscription not in self._behind:
            self._behind.append(subscription)

    def forget(self, subscription: Subscription) -> None:
        """Forget a subscription that is not behind any more, or has left."""
        if subscription in self._behind:
            self._behind.remove(subscription)

    def resume(self, subscription: Subscription) -> None:
        """Let a subscription go on as before its join, which was not answered with `joined`."""
        if subscription not in self._behind:
            self.note(subscription, caught_up=subscription.resume())

    async def read_on(self) -> None:
        """Send one page of history to the subscription that has waited longest, and to all at the same cursor.

        It is one page at a time so that requests to the room do not wait longer.
        """
        ready = [subscription for subscription in self._behind if not subscription.subscriber.connection.backlogged]
        if ready:
            await self._read_on([subscription for subscription in ready if subscription.cursor == ready[0].cursor])

    async def _read_on(self, subscriptions: Sequence[Subscription]) -> None:
        """Send a page to subscriptions that are behind at the same cursor."""
        try:
            # Not the whole history: after this page a slow client in a busy room may have very much to read.
            history = await self._store.messages.history(
                self._room_id, subscriptions[0].cursor, PAGE_MESSAGES, PAGE_BYTES, False
            )
        except StoreUnavailable:
            self._stalled = True  # it is tried again when the store is back
            return
        self._stalled = isinstance(history, RoomClosed)
        if isinstance(history, RoomClosed):
            return
        whole = self._page(history.messages)
        expired = (history.missed or 0) - history.missed_unsent
        for subscription in subscriptions:
            if subscription not in self._behind or subscription.subscriber.connection.backlogged:
                continue  # it has left meanwhile, or other rooms have filled its outbox: it reads on later
            unsent = subscription.unseen_unsent(history.unsent)
            notes = [Outgoing(events.Unsent(room_id=self._room_id, message_id=message_id)) for message_id in unsent]
            if expired > 0:
                notes.append(Outgoing(events.Skipped(room_id=self._room_id, count=expired)))
            unseen = subscription.unseen(history.messages)
            page = whole if len(unseen) == len(history.messages) else self._page(unseen)
            for frame in (*frames(notes), *page):
                subscription.subscriber.connection.write(frame)
            self._behind.remove(subscription)
            self.note(subscription, caught_up=subscription.caught_up(history.cursor, history.number, more=history.more))

    def _page(self, messages: Sequence[LogEntry]) -> list[Frame]:
        return frames(outgoing(message, self._room_id) for message in messages)
