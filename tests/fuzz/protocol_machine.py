"""The protocol as a state machine: random commands of several clients on two servers, against a simple model.

The model is the protocol page: for every command it says which reply or error is due, from what the clients know and
from what the store did (`tests.promises`). What arrives by itself is checked as it arrives, and after each step.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.fuzz.machine import MOST_CLIENTS, NOWHERE, STRANGE, UNAVAILABLE, USERS, of, which
from tests.fuzz.rule_machine import RuleMachine
from tests.fuzz.world import CONTENT_BYTES, NAMES, SHORTEST_TTL, TTL
from tests.promises.client import PromiseClient

TOKEN_SECONDS = 24 * 3600.0

ASLEEP = (3600.0, 23 * 3600.0, 25 * 3600.0)
"""How long the machine may be asleep: shorter and longer than a token and a cursor last."""

BACK_SECONDS = 3.0
"""How long after the store is back everything may take to be as it was."""

NONSENSE: dict[str | bytes, str] = {
    b"{}": "bad_frame",
    "[]": "bad_frame",
    '{"ref":"bad"': "bad_frame",
    '{"type":"nothing","ref":"bad"}': "unknown_type",
    '{"type":"join","ref":"bad","roomId":"here"}': "bad_request",
    '{"type":"send","ref":"bad","roomId":"' + NOWHERE + '"}': "bad_request",
    '{"type":"invite","ref":"bad","people":0,"roomId":"' + NOWHERE + '"}': "bad_request",
    '{"type":"mute","ref":"bad","seconds":86401,"roomId":"' + NOWHERE + '","userId":"' + NOWHERE + '"}': "bad_request",
}
"""Frames that are no command, and the error that each gets."""

texts = st.sampled_from(["a", "b", "ä 👩‍💻", " ", "", "x" * CONTENT_BYTES, "x" * (CONTENT_BYTES + 1)])

ttls = st.sampled_from([None, None, None, SHORTEST_TTL / 2, SHORTEST_TTL, TTL / 2, 1.5 * TTL])
"""How long the sender of a message wants it to live."""


class ProtocolMachine(RuleMachine):
    """Clients that do anything in any order, while servers and the store come and go."""

    # Connections

    @initialize()
    def begin(self) -> None:
        """Have three people on two servers in one room: what most steps need."""
        for number in range(3):
            self.connect(number, number)
        self.create_room(0, {})
        for number in range(3):
            self.join(number, 0, "none")

    @precondition(lambda self: self.connected < MOST_CLIENTS)
    @rule(user=which, server=which)
    def connect(self, user: int, server: int) -> None:
        self.sign_in(of(list(USERS), user), of(list(NAMES), server))

    @precondition(lambda self: self.connected < MOST_CLIENTS)
    @rule(number=which, server=which)
    def come_back(self, number: int, server: int) -> None:
        gone = [client for client in self.world.clients if not client.open and client.token and client.cursors]
        if gone:
            self.resume(of(gone, number), of(list(NAMES), server))

    def resume(self, before: PromiseClient, server: str) -> None:
        """Sign in with a client's token, or anew, and join its rooms from the last cursors."""
        client = self.do(lambda: self.world.connect(server))
        if self.now - before.signed_in_at < TOKEN_SECONDS:
            self.ask(client, "hello", {"welcome"}, token=before.token)
            client.token, client.signed_in_at = before.token, before.signed_in_at
        else:
            self.ask(client, "hello", {"invalid_token"}, token=before.token)
            client = self.do(lambda: self.world.connect(server))
            self.ask(client, "hello", {"welcome"}, credential=before.credential)
        client.credential = before.credential
        for room, cursor in list(before.cursors.items()):
            self.enter(client, room, cursor)

    @precondition(lambda self: any(client.rooms for client in self.talking))
    @rule(
        number=which,
        server=which,
        acts=st.lists(st.tuples(which, st.booleans()), max_size=6),
        seconds=st.sampled_from([0, 4, 8]),
    )
    def be_away(self, number: int, server: int, acts: list[tuple[int, bool]], seconds: int) -> None:
        """Lose the connection, and come back after others have sent and taken back messages, and some have expired."""
        client = of([client for client in self.talking if client.rooms], number)
        self.do(self.world.at_once(client.hang_up))
        for other, unsends in acts:
            if not self.talking:
                break
            if unsends:
                self.unsend(other, 0)
            else:
                self.send(other, "while away")
            self.wait(seconds / 4)
        self.wait(seconds)
        self.resume(client, of(list(NAMES), server))

    def lose(self, act: Callable[[], Any], server: int) -> None:
        """Do what may close connections; the clients that it closes come back."""
        open_before = [client for client in self.world.clients if client.open and client.user_id]
        self.do(act)
        for client in open_before:
            if not client.open:
                self.resume(client, of(list(NAMES), server))

    @precondition(lambda self: self.talking)
    @rule(number=which)
    def hang_up(self, number: int) -> None:
        client = of(self.talking, number)
        self.do(self.world.at_once(client.hang_up))

    @rule(number=which, stops=st.booleans())
    def read(self, number: int, stops: bool) -> None:
        """Stop reading, or read on."""
        if not stops:
            self.read_on()
        elif self.talking:
            of(self.talking, number).stalled = True

    def read_on(self) -> None:
        for client in self.world.clients:
            if client.stalled:
                self.do(self.world.at_once(client.take))

    # Rooms

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, since=st.sampled_from(["none", "last", "other", "wrong"]))
    def join(self, number: int, room: int, since: str) -> None:
        client, room_id = of(self.talking, number), self.room(room)
        record = client.rooms.get(room_id)
        cursors = {
            "none": None,
            "last": record.cursor if record else client.cursors.get(room_id),
            "other": next((cursor for other, cursor in client.cursors.items() if other != room_id), None),
            "wrong": "nonsense",
        }
        self.enter(client, room_id, cursors[since])

    @precondition(lambda self: self.talking)
    @rule(number=which)
    def leave(self, number: int) -> None:
        self.leave_room(*self.member(number))

    @precondition(lambda self: self.talking and self.rooms)
    @rule(number=which, room=which)
    def close_room(self, number: int, room: int) -> None:
        client, room_id = of(self.talking, number), self.room(room)
        if room_id not in self.rooms or room_id in self.closed:
            due = {"room_not_found"}
        elif self.rooms[room_id].creator != client.user_id:
            due = {"forbidden"}
        else:
            due = self.from_store("ok")
            self.closing |= {room_id} if self.store == "held" else set()
        if room_id in self.closed and self.store != "none":
            due |= UNAVAILABLE  # a server that has the room in its cache asks the store first
        reply = self.ask(client, "close_room", due, roomId=room_id)
        if reply["type"] == "ok":
            self.closed.add(room_id)

    # Messages

    @precondition(lambda self: self.talking)
    @rule(number=which, content=texts, ttl=ttls, answers=which)
    def send(self, number: int, content: str, ttl: float | None = None, answers: int = STRANGE) -> None:
        client, room_id, message_id = *self.member(number), str(uuid.uuid4())
        entries = self.recent(room_id)
        reply_to = of(entries, answers).message.message_id if entries and answers < STRANGE / 2 else None
        due = self.due_to_send(client, room_id, content, message_id, ttl)
        reply = self.ask(
            client, "send", due, roomId=room_id, content=content, messageId=message_id, ttl=ttl, replyTo=reply_to
        )
        if reply.get("duplicate"):
            self.fail("a new message is said to be a duplicate")

    @precondition(lambda self: self.talking)
    @rule(number=which, message=which)
    def send_again(self, number: int, message: int) -> None:
        """Send with the id of an earlier message of the room, of whoever sent it and whatever became of it."""
        client, room_id = self.member(number)
        entries = self.recent(room_id)
        if not entries:
            return
        entry = of(entries, message)
        message_id, content = entry.message.message_id, entry.message.content
        live = self.entry(room_id, message_id)
        due = self.due_to_send(client, room_id, content, message_id)
        reply = self.ask(client, "send", due, roomId=room_id, content=content, messageId=message_id)
        if reply["type"] == "sent" and reply["duplicate"] != (live is not None):
            self.fail(f"duplicate is {reply['duplicate']}")

    @precondition(lambda self: self.talking)
    @rule(senders=st.lists(which, min_size=2, max_size=12))
    def send_at_once(self, senders: list[int]) -> None:
        """Several clients send before anybody has an answer."""
        asked: list[tuple[PromiseClient, int, set[str]]] = []

        def send() -> None:
            for number in senders:
                client, room_id = self.member(number)
                if room_id in client.rooms:
                    due = self.due_to_send(client, room_id, "at once", "")
                    asked.append((client, client.command("send", roomId=room_id, content="at once"), due))

        self.do(self.world.at_once(send))
        self.do(lambda: self.world.until(lambda: all(not client.unanswered for client, _, _ in asked)))
        for client, ref, due in asked:
            reply = client.reply(ref) or {}
            got = reply.get("code", reply.get("type"))
            if got not in due:
                self.fail(f"send was answered with {got}")

    @precondition(lambda self: self.talking)
    @rule(number=which, message=which)
    def unsend(self, number: int, message: int) -> None:
        client, room_id = self.member(number)
        entries = self.recent(room_id)
        own = [entry for entry in entries if entry.message.sender_id == client.user_id and entry.lives(self.now)]
        if own and message < STRANGE / 2:
            entries = own
        message_id = of(entries, message).message.message_id if entries else NOWHERE
        entry = self.entry(room_id, message_id)
        if room_id not in client.rooms:
            due = {"not_member"}
        elif entry is None or entry.unsent_at is not None:
            due = self.from_store("message_not_found")
        elif entry.message.sender_id != client.user_id:
            due = self.from_store("forbidden")
        else:
            due = self.from_store("ok")
        self.ask(client, "unsend", due, roomId=room_id, messageId=message_id)

    @precondition(lambda self: self.talking)
    @rule(number=which, what=st.sampled_from(["typing", "members", "Eve", "Fay", *NONSENSE]))
    def talk(self, number: int, what: str) -> None:
        """Do something small."""
        if what in NONSENSE:
            self.say_nonsense(number, what, NONSENSE[what])
        elif what == "typing":
            self.typing(number)
        elif what == "members":
            self.members(number)
        else:
            self.ask(of(self.talking, number), "update_profile", {"profile"}, displayName=what)

    def typing(self, number: int) -> None:
        client, room_id = self.member(number)
        self.ask(client, "typing", self.due_to_type(client, room_id), roomId=room_id)

    def members(self, number: int) -> None:
        client, room_id = self.member(number)
        record = client.rooms.get(room_id)
        reply = self.ask(client, "members", {"members"} if record else {"not_member"}, roomId=room_id)
        if record is not None and {m["userId"]: m["displayName"] for m in reply["members"]} != record.roster:
            self.fail("members are others than the events have told")

    def say_nonsense(self, number: int, text: str | bytes, code: str) -> None:
        error = self.do(lambda: self.world.say(of(self.talking, number), text))
        if error is None or error["code"] != code or error["retry"]:
            self.fail(f"{error} in answer to a bad frame, and not {code}")

    # Time, servers and the store

    @rule(seconds=st.sampled_from([0.5, 3.0, TTL / 2, TTL, *ASLEEP]), server=which)
    def let_time_pass(self, seconds: float, server: int) -> None:
        if seconds in ASLEEP:
            self.lose(lambda: self.world.sleep(seconds), server)
        else:
            self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self.do(lambda: self.world.wait(seconds))

    @rule(server=which, drains=st.booleans(), other=which)
    def restart(self, server: int, drains: bool, other: int) -> None:
        self.lose(lambda: self.world.restart(of(list(NAMES), server), drains=drains), other)

    @precondition(lambda self: self.store == "none")
    @rule(kind=st.sampled_from(["down", "held"]))
    def lose_store(self, kind: str) -> None:
        self.store = kind
        self.do(self.world.at_once(lambda: self.world.fault(kind)))

    @precondition(lambda self: self.store != "none")
    @rule(memory=st.booleans())
    def find_store(self, memory: bool) -> None:
        self.store_is_back("none" if memory or self.store == "held" else "amnesia")

    def store_is_back(self, kind: str) -> None:
        self.store = "none"
        if kind == "amnesia":
            for model in self.rooms.values():
                model.lose_memory()
        self.do(self.world.at_once(lambda: self.world.fault(kind)))
        self.do(lambda: self.world.wait(BACK_SECONDS))

    # What always holds

    @invariant()
    def no_promise_is_broken(self) -> None:
        if self.world.broken:
            self.fail("; ".join(self.world.broken))

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        if self.store == "none":
            self.do(self.world.at_once(self.check))
            self.no_promise_is_broken()

    def check(self) -> None:
        """Check, while nothing is under way, that everybody has everything."""
        for client in self.talking:
            if client.unanswered:
                self.fail(f"no answer to {client.unanswered}")
            for room_id, record in client.rooms.items():
                record.check(self.now, complete=True)
                if record.roster != self.present(room_id):
                    self.fail("a roster differs from the store's")
        for room_id in self.rooms:
            here = {client.user_id for client in self.world.clients if room_id in client.rooms}
            if here != set(self.present(room_id)) and not self.stalled_in(room_id):
                self.fail("the store has other members than there are")
        self.check_rules()

    def stalled_in(self, room_id: str) -> bool:
        return any(client.stalled for client in self.world.clients if client.open)

    def teardown(self) -> None:
        try:
            self.store_is_back("none")
            self.read_on()
            if not self.failed:
                self.all_is_as_it_should_be()
        finally:
            self.world.end()
