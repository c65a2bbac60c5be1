"""Joins of one room that wait for the database, while the room goes on: no message waits with them.

The database says whether a user was admitted, or had lost the connection, or has the rules that the store lacks. Then
the join goes back into the room's inbox, and is handled like a new one, or refused; unless its user has left meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from evanesce.errors import CommandError, PersistenceUnavailable, RateLimited
from evanesce.jobs import report_repository_fault
from evanesce.metrics import Metrics
from evanesce.rooms.admissions import Admissions
from evanesce.rooms.inbox import Inbox
from evanesce.rooms.requests import JoinRequest, RoomRequest, Subscriber, Wake, room_not_found
from evanesce.rooms.returns import Returns
from evanesce.rooms.rule_sync import RuleSync

MOST_PENDING = 1_000
"""How many joins of a room may wait for the database; further ones are refused."""


@dataclass(slots=True)
class _Pending:
    """What is known of one join. `decided`: it waits in the inbox. `dropped`: and its user has left meanwhile."""

    admitted: bool = False
    returns: bool = False
    synced: bool = False
    decided: bool = False
    dropped: bool = False
    refusal: CommandError | None = None


class PendingJoins:
    """The joins of one room that wait, from the moment the room withdraws them until it has answered them."""

    def __init__(
        self,
        room_id: str,
        *,
        rule_sync: RuleSync,
        admissions: Admissions,
        returns: Returns,
        inbox: Inbox[RoomRequest],
        metrics: Metrics,
    ) -> None:
        self._room_id = room_id
        self._rule_sync = rule_sync
        self._admissions = admissions
        self._returns = returns
        self._inbox = inbox
        self._metrics = metrics
        self._joins: dict[JoinRequest, _Pending] = {}
        self._nursery: trio.Nursery

    def start(self, nursery: trio.Nursery) -> None:
        """Ask the database in tasks of `nursery`."""
        self._nursery = nursery

    @property
    def undecided(self) -> list[JoinRequest]:
        """The joins for which the database was asked, and has not answered."""
        return [request for request, pending in self._joins.items() if not pending.decided]

    def __len__(self) -> int:
        return len(self._joins)

    def is_admitted(self, request: JoinRequest) -> bool:
        """Return whether the database has admitted the user, or had before."""
        pending = self._joins.get(request)
        return (pending is not None and pending.admitted) or self._admissions.is_known(
            self._room_id, request.subscriber.user_id
        )

    def returns(self, request: JoinRequest) -> bool:
        """Return whether the database knows that the user has lost the connection, and may come back."""
        pending = self._joins.get(request)
        return pending is not None and pending.returns

    def has_rules(self, request: JoinRequest) -> bool:
        """Return whether the rules were installed for this join already."""
        pending = self._joins.get(request)
        return pending is not None and pending.synced

    def refusal_of(self, request: JoinRequest) -> CommandError | None:
        """Return why the database, or this queue, refuses a join; None where neither does."""
        pending = self._joins.get(request)
        return None if pending is None else pending.refusal

    def is_dropped(self, request: JoinRequest) -> bool:
        """Return whether a join was answered already, as its user has left."""
        pending = self._joins.get(request)
        return pending is not None and pending.dropped

    def forget(self, request: JoinRequest) -> None:
        """Forget a join that was answered."""
        self._joins.pop(request, None)

    def drop(self, subscriber: Subscriber) -> list[JoinRequest]:
        """Drop the joins of a session that leaves, and return them: each needs an answer now."""
        dropped = [
            request
            for request, pending in self._joins.items()
            if request.subscriber is subscriber and not pending.dropped
        ]
        for request in dropped:
            if self._joins[request].decided:
                self._joins[request].dropped = True
            else:
                del self._joins[request]
        return dropped

    def ask_for_admission(self, request: JoinRequest) -> None:
        """Ask whether a user was admitted, or is admitted by an invite."""
        if self._add(request):
            self._nursery.start_soon(self._admit, request)

    def ask_for_return(self, request: JoinRequest) -> bool:
        """Ask whether a user comes back to a locked room. Return False where the database has nothing to add."""
        if self.returns(request) or not self._returns.has_to_be_asked(self._room_id):
            return False
        if self._add(request):
            self._nursery.start_soon(self._check_return, request)
        return True

    def ask_for_rules(self, requests: Sequence[JoinRequest]) -> None:
        """Install the room's rules in the store."""
        added = [request for request in requests if self._add(request)]
        if added:
            self._nursery.start_soon(self._sync, added)

    def _add(self, request: JoinRequest) -> bool:
        pending = self._joins.setdefault(request, _Pending())
        pending.decided = False
        if len(self._joins) <= MOST_PENDING:
            return True
        self._decide(request, RateLimited("Too many people join this room at the moment. Try again.", 1.0))
        return False

    async def _admit(self, request: JoinRequest) -> None:
        admit = partial(self._admissions.admit, self._room_id, request.subscriber.user_id, request.invite)
        refusal = await self._refusal("admitting a user to a room", admit)
        if (pending := self._joins.get(request)) is not None:
            pending.admitted = refusal is None
            self._decide(request, refusal)
        self._inbox.put_unless_closed(Wake())  # its user may have left as the last one, so that the room ends

    async def _check_return(self, request: JoinRequest) -> None:
        check = partial(self._returns.check, self._room_id, request.subscriber.user_id)
        refusal = await self._refusal("asking whether a user comes back to a room", check)
        if (pending := self._joins.get(request)) is not None:
            pending.returns = refusal is None
            self._decide(request, refusal)
        self._inbox.put_unless_closed(Wake())

    async def _sync(self, requests: Sequence[JoinRequest]) -> None:
        refusal = await self._refusal("reading the rules of a room", self._install_rules)
        for request in requests:
            if (pending := self._joins.get(request)) is not None:
                pending.synced = True
                self._decide(request, refusal)
        self._inbox.put_unless_closed(Wake())  # all may have left, so that the room ends

    async def _install_rules(self) -> None:
        if await self._rule_sync.sync(self._room_id) is None:
            raise room_not_found()

    async def _refusal(self, what: str, ask: Callable[[], Awaitable[None]]) -> CommandError | None:
        """Ask the database; return why it refuses, or None."""
        try:
            await ask()
        except CommandError as error:
            return error
        except Exception as error:
            report_repository_fault(what, error, self._metrics)
            return PersistenceUnavailable()
        return None

    def _decide(self, request: JoinRequest, refusal: CommandError | None) -> None:
        """Put a join back into the inbox: the room itself answers it."""
        pending = self._joins[request]
        pending.decided, pending.refusal = True, refusal
        self._inbox.put_unless_closed(request)
