"""The comparison of the sign-ins and rooms of a server with the database.

Notices tell a server that a sign-in has ended or a name has changed. A notice may be lost, late or out of order. So
every sign-in and every room of a server, live or cached, is compared with the database: whenever notices may have been
lost, once a minute, and for a single user after a `hello` and after a change of the name.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

import trio

from evanesce.accounts.bans import is_banned
from evanesce.accounts.cache import AccountCache
from evanesce.accounts.control import ControlPublisher, RoomClosing
from evanesce.context import ServerContext
from evanesce.errors import StoreUnavailable, Unavailable
from evanesce.interfaces import MOST_CHECKED
from evanesce.jobs import report_repository_fault
from evanesce.model import FOR_EVER
from evanesce.rooms.hub import Hub
from evanesce.store.control_bus import (
    DrainRequested,
    Notice,
    NoticesLost,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
    ban_mark,
)

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
"""How often everything is compared."""

ANSWER_SECONDS = 3.0
"""How long the database, or the store, may take for one batch."""

GATHER_SECONDS = 0.1
"""How long a sign-in waits for others that are compared by the same query: users come back many at once."""

PAUSE_SECONDS = 0.5
"""The shortest pause between two comparisons of everything: a connection may break again and again."""

RETRY_SECONDS = 1.0
"""The delay before it is tried again after the database did not answer."""

CLOSED = "The room was closed."

SignInKey = tuple[str, str]
"""A user id and a sign-in id."""

Item = TypeVar("Item")


class Reconciliation:
    """Compares the sign-ins and rooms of this server with the database. `run` must run beside it."""

    def __init__(self, context: ServerContext, hub: Hub, cache: AccountCache, publisher: ControlPublisher) -> None:
        self._repository = context.repository
        self._store = context.store
        self._metrics = context.metrics
        self._hub = hub
        self._cache = cache
        self._publisher = publisher
        self._sign_ins: OrderedDict[SignInKey, None] = OrderedDict()
        self._rooms: OrderedDict[str, None] = OrderedDict()
        self._renamed: set[str] = set()  # while the database was being asked
        self._all_due = False
        self._lost = trio.Event()
        self._work = trio.Event()

    def handle_notice(self, notice: Notice | NoticesLost) -> None:
        """Queue what a notice makes uncertain; the sessions have been informed."""
        match notice:
            case NoticesLost():
                self._lost.set()
                self._all_due = True
                self._work.set()
            case UserRenamed(user_id):
                # Two such notices may come in the wrong order: the name in the database is the right one.
                self._renamed.add(user_id)
                for session in self._hub.sessions_of(user_id):
                    self.check_soon(user_id, session.sign_in_id)
            case TokenRevoked() | UserErased() | UserBanned() | UserDisconnected() | DrainRequested():
                pass

    def check_soon(self, user_id: str, sign_in_id: str) -> None:
        """Queue one sign-in before all others that wait to be compared."""
        key = user_id, sign_in_id
        self._sign_ins[key] = None
        self._sign_ins.move_to_end(key, last=False)
        self._work.set()

    async def run(self) -> None:
        """Compare what is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_store_after_losses)
            next_round = trio.current_time() + EVERY_SECONDS
            while True:
                with trio.move_on_at(next_round):
                    await self._work.wait()
                    await trio.sleep(GATHER_SECONDS)
                self._work = trio.Event()
                everything = self._all_due or trio.current_time() >= next_round
                if everything:
                    self._all_due = False
                    next_round = trio.current_time() + EVERY_SECONDS
                    self._note_all()
                if not await self._compare():
                    # The queue must not grow while the database is unavailable for long: it is filled again later.
                    self._sign_ins.clear()
                    self._rooms.clear()
                    self._all_due = True
                    self._work.set()
                    await trio.sleep(RETRY_SECONDS)
                elif everything:
                    await trio.sleep(PAUSE_SECONDS)

    def _note_all(self) -> None:
        """Queue all sign-ins and rooms of this server, live ones first."""
        for sign_in in (*self._hub.sign_ins, *self._cache.sign_ins):
            self._sign_ins.setdefault(sign_in)
        for room_id in (*self._hub.room_ids, *self._cache.room_ids):
            self._rooms.setdefault(room_id)

    async def _compare(self) -> bool:
        """Compare what is due, in batches; return False where the database did not answer."""
        try:
            while self._sign_ins or self._rooms:
                if self._sign_ins:
                    await self._check_sign_ins(_taken(self._sign_ins))
                if self._rooms:
                    await self._check_rooms(_taken(self._rooms))
        except (Unavailable, trio.TooSlowError):
            logger.debug("the database does not answer: sign-ins and rooms are compared later")
            return False
        except Exception as error:
            report_repository_fault("comparing sign-ins and rooms", error, self._metrics)
            return False
        return True

    async def _ask_store_after_losses(self) -> None:
        """End sign-ins that the store knows are revoked, while the database may be slow or unavailable."""
        while True:
            await self._lost.wait()
            self._lost = trio.Event()
            sign_ins = [*self._hub.sign_ins, *self._cache.sign_ins]
            try:
                for start in range(0, len(sign_ins), MOST_CHECKED):
                    await self._ask_store(sign_ins[start : start + MOST_CHECKED])
            except (StoreUnavailable, trio.TooSlowError):
                # When it is back it reports lost notices again. The database is asked anyhow.
                logger.debug("the store does not answer which sign-ins have ended")
            await trio.sleep(PAUSE_SECONDS)

    async def _ask_store(self, batch: Sequence[SignInKey]) -> None:
        with trio.fail_after(ANSWER_SECONDS):
            ids = [one for user_id, sign_in_id in batch for one in (user_id, sign_in_id, ban_mark(user_id))]
            ended = await self._store.control.revoked(ids)
        for user_id, sign_in_id in batch:
            if ban_mark(user_id) in ended:  # the database knows until when
                self._hub.handle_notice(UserBanned(user_id, FOR_EVER))
            elif user_id in ended or sign_in_id in ended:
                self._hub.handle_notice(TokenRevoked(sign_in_id))

    async def _check_sign_ins(self, batch: Sequence[SignInKey]) -> None:
        mark = self._cache.mark()
        self._renamed.clear()
        with trio.fail_after(ANSWER_SECONDS):
            users = await self._repository.signed_in(batch)
        for (user_id, sign_in_id), user in zip(batch, users, strict=True):
            if user is None:
                self._hub.handle_notice(TokenRevoked(sign_in_id))
            elif is_banned(user, self._store.clock):
                self._hub.handle_notice(UserBanned(user_id, user.banned_until or FOR_EVER))
            elif user_id not in self._renamed:  # otherwise it is asked again: this answer may be older than the name
                self._cache.confirm_user(user, sign_in_id, mark)
                if any(session.display_name != user.display_name for session in self._hub.sessions_of(user_id)):
                    self._hub.rename(user_id, user.display_name)

    async def _check_rooms(self, batch: Sequence[str]) -> None:
        mark = self._cache.mark()
        with trio.fail_after(ANSWER_SECONDS):
            are_open = await self._repository.open_rooms(batch)
        self._cache.confirm_rooms(are_open, mark)
        for room_id in batch:
            running = self._hub.running(room_id)
            if running is not None and running.rules.version != are_open.get(room_id, running.rules.version):
                running.check_rules()
            if room_id not in are_open:
                self._cache.drop_room(room_id)
                if running is not None:
                    self._publisher.publish_soon(RoomClosing(room_id, CLOSED))


def _taken(due: OrderedDict[Item, None]) -> list[Item]:
    """Remove and return the first entries of a queue, as many as one query compares."""
    return [due.popitem(last=False)[0] for _ in range(min(len(due), MOST_CHECKED))]
