"""What the parts of the protocol's state machine have in common: the clients, the rooms, and one command."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.fuzz.rule_model import RoomModel
from tests.fuzz.world import CAPACITY, CONTENT_BYTES, ROOMS_PER_CONNECTION, SHORTEST_TTL, World
from tests.promises.client import PromiseClient
from tests.promises.ledger import Entry
from tests.promises.rules import Options

T = TypeVar("T")

USERS = ("Ada", "Bob", "Cy", "Dee")
MOST_CLIENTS = 6

NOWHERE = "00000000-0000-4000-8000-000000000000"

UNAVAILABLE = {"store_unavailable"}

which = st.integers(min_value=0, max_value=23)
"""Which of several things: it is taken modulo their number."""

STRANGE = 23
"""The number that takes a room that does not exist, or that the client need not be in."""


def of(things: list[T], number: int) -> T:
    return things[number % len(things)]


class Machine(RuleBasedStateMachine):
    """Clients of two servers, and what they know."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.rooms: dict[str, RoomModel] = {}
        self.closed: set[str] = set()
        self.closing: set[str] = set()
        """The rooms that the store has closed, and perhaps not the database."""
        self.store = "none"
        """The fault of the store."""
        self.failed = False

    # What there is

    @property
    def talking(self) -> list[PromiseClient]:
        """The clients that have signed in, read, and are connected."""
        return [client for client in self.world.clients if client.open and client.user_id and not client.stalled]

    @property
    def connected(self) -> int:
        """How many clients are connected."""
        return sum(client.open for client in self.world.clients)

    def room(self, number: int) -> str:
        """Return a room, closed or not, or one that never was."""
        return NOWHERE if number == STRANGE or not self.rooms else of(list(self.rooms), number)

    def exists(self, room: str) -> bool:
        return room in self.rooms and room not in self.closed | self.closing

    def member(self, number: int) -> tuple[PromiseClient, str]:
        """Return a client and a room: mostly one that it is in."""
        memberships = [(client, room) for client in self.talking for room in client.rooms]
        if number == STRANGE or not memberships:
            return of(self.talking, number), self.room(len(memberships))
        return of(memberships, number)

    def entry(self, room: str, message_id: str) -> Entry | None:
        """Return a message that was stored and has not expired, taken back or not."""
        ledger = self.world.ledger.ledgers.get(room)
        entry = None if ledger is None else ledger.newest.get(message_id)
        if entry is None or entry.deadline <= self.now or entry.lost_at is not None:
            return None
        return entry

    def recent(self, room: str) -> list[Entry]:
        """Return the last messages of a room, alive or not."""
        ledger = self.world.ledger.ledgers.get(room)
        return [] if ledger is None else ledger.entries[-6:]

    def present(self, room: str) -> dict[str, str]:
        """Return who is in a room, as the store has it."""
        ledger = self.world.ledger.ledgers.get(room)
        return {} if ledger is None else dict(ledger.room.names)

    @property
    def now(self) -> float:
        return self.world.now

    # One command, and what is due

    def ask(self, client: PromiseClient, type: str, due: set[str], **fields: Any) -> dict[str, Any]:
        """Send a command; its reply, or the code of its error, has to be one of those that are due."""
        reply = self.do(lambda: self.world.ask(client, type, **fields))
        if not reply:
            return {"type": "ended"} if not client.open else self.fail(f"{type} was never answered")
        got = reply["code"] if reply["type"] == "error" else reply["type"]
        if got not in due:
            self.fail(f"{type} was answered with {got}, and not with {sorted(due)}")
        return reply

    def do(self, step: Callable[[], Any]) -> Any:
        return self.world.do(step)

    def fail(self, what: str) -> dict[str, Any]:
        self.failed = True
        raise AssertionError(what)

    def from_store(self, *outcomes: str) -> set[str]:
        """Return what a command that asks the store may come to."""
        return set(outcomes) if self.store == "none" else UNAVAILABLE

    # Connections, joins and leaves

    def sign_in(self, name: str, server: str) -> PromiseClient:
        """Connect somebody to a server."""
        client = self.do(lambda: self.world.connect(server))
        self.ask(client, "join", {"unauthenticated"}, roomId=NOWHERE)
        self.ask(client, "ping", {"pong"})
        client.credential = {"provider": "name", "name": name}
        self.ask(client, "hello", {"welcome"}, credential=client.credential)
        return client

    def due_to_join(self, client: PromiseClient, room: str, secret: str | None) -> set[str]:
        if room not in client.rooms and len(client.rooms) >= ROOMS_PER_CONNECTION:
            return {"too_many_rooms"}
        if not self.exists(room):
            return {"room_not_found"} if self.store == "none" else {"room_not_found", *UNAVAILABLE}
        if self.store != "none":
            return UNAVAILABLE
        present = self.present(room)
        ledger, left_at = self.world.ledger.ledgers.get(room), set[float]()
        if ledger is not None and client.user_id in ledger.rules.left_at:
            left_at.add(ledger.rules.left_at[client.user_id])
            if any(loss >= at for loss in ledger.losses for at in left_at):
                left_at.add(-math.inf)  # the store may have forgotten it
        return self.rooms[room].due_to_join(
            client.user_id, secret, present=present, left_at=left_at, full=len(present) >= CAPACITY, now=self.now
        )

    def enter(self, client: PromiseClient, room: str, since: str | None = None, secret: str | None = None) -> None:
        """Let a client join a room."""
        due, present = self.due_to_join(client, room, secret), self.present(room)
        reply = self.ask(client, "join", due, roomId=room, since=since, invite=secret)
        got = reply.get("code", reply["type"])
        if got == "joined":
            model, options = self.rooms[room], Options.of(reply["room"])
            if options not in model.options:
                self.fail(f"joined names {options}, and not one of {model.options}")
            model.joined(client.user_id, options, secret, present, self.now)
        elif got == "room_full":
            self.rooms[room].admit(client.user_id, secret)
        elif got == "banned":
            self.rooms[room].learn_banned(client.user_id, True, self.now)

    def leave_room(self, client: PromiseClient, room: str) -> None:
        """Let a client leave a room."""
        self.ask(client, "leave", {"left"} if room in client.rooms else {"not_member"}, roomId=room)
        if room in client.rooms:
            self.fail("a client that left is still in the room")
        if room in self.rooms and not any(
            room in other.rooms for other in self.world.clients if other.user_id == client.user_id
        ):
            self.rooms[room].leavers.add(client.user_id)

    # Messages

    def due_to_send(
        self, client: PromiseClient, room: str, content: str, message_id: str, ttl: float | None = None
    ) -> set[str]:
        if room not in client.rooms:
            return {"not_member"}
        if not content.strip():
            return {"content_empty"}
        if len(content.encode()) > CONTENT_BYTES:
            return {"content_too_long"}
        lawful = {ttl is None or SHORTEST_TTL <= ttl <= one.message_ttl for one in self.rooms[room].options}
        due = set[str]() if False not in lawful else {"bad_request"}
        if True not in lawful:
            return due
        entry = self.entry(room, message_id)
        taken = entry is not None and (entry.unsent_at is not None or entry.message.sender_id != client.user_id)
        muted = self.rooms[room].is_muted(client.user_id, self.now)
        outcomes = {"muted"} if True in muted else set[str]()
        if False in muted or entry is not None:  # a message that is stored already may be answered as before
            outcomes.add("conflict" if taken else "sent")
        return due | self.from_store(*outcomes)

    def due_to_type(self, client: PromiseClient, room: str) -> set[str]:
        if room not in client.rooms:
            return {"not_member"}
        due = {"muted" if muted else "ok" for muted in self.rooms[room].is_muted(client.user_id, self.now)}
        return due if self.store == "none" else due | UNAVAILABLE
