"""What is typed into a terminal: messages are sent until the server has them, commands are carried out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from evanesce.cli.console import Console, line
from evanesce.cli.notices import (
    counted,
    describe_bans,
    describe_error,
    describe_invites,
    describe_members,
    describe_vote,
    duration,
)
from evanesce.cli.people import NotOnePerson, find_person, split_person
from evanesce.cli.room_state import RoomState
from evanesce.cli.typed import COMMANDS, Answer, Local, PersonCommand, Revoke, RoomCommand, Say, Wrong, parse
from evanesce.client.connection import ANSWER_SECONDS, Fields
from evanesce.client.errors import Disconnected, Refused
from evanesce.client.links import with_key
from evanesce.confidential import Confidential

NO_KEY = "this room is encrypted, and the link has no key (#k=…): ask for the whole link"


@dataclass(slots=True, repr=False)
class _Message(Confidential):
    """A message on its way. `content` is the text, or what it was sealed as by the account `sealed_by`."""

    text: str
    ttl: float | None
    reply_to: str | None
    content: str = ""
    sealed_by: str | None = None
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    first_sent_at: float | None = None


MOST_PAGES = 100
"""How many pages of bans are asked for: a room has 10,000 bans at most, and a page has more than 100 of them."""


class Typist:
    """Carries out the lines that are typed, one after the other."""

    def __init__(self, room: RoomState, console: Console) -> None:
        self._room = room
        self._console = console

    async def run(self) -> None:
        """Carry out all lines until `/quit` or the end of the input."""
        lines: AsyncGenerator[str]
        async with aclosing(self._console.lines()) as lines:
            async for typed in lines:
                if await self._carry_out(typed):
                    return

    async def _carry_out(self, typed: str) -> bool:
        """Carry out a line, and return whether it was the last one."""
        try:
            match parse(typed):
                case Local("quit"):
                    return True
                case Local("help"):
                    await self._notify(*(f"{usage}: {meaning}" for usage, meaning in COMMANDS.items()))
                case Local():
                    await self._unsend()
                case Say(content, ttl):
                    await self._send(content, ttl)
                case Answer(content):
                    await self._answer(content)
                case RoomCommand(fields):
                    await self._request(fields)
                case PersonCommand() as command:
                    await self._request_about(command)
                case Revoke(start):
                    await self._revoke(start)
                case Wrong(problem):
                    await self._notify(problem)
        except NotOnePerson as error:
            await self._notify(str(error))
        return False

    async def _notify(self, *notices: str) -> None:
        for notice in notices:
            await self._console.print(line(f"* {notice}"))

    # Commands

    async def _request(self, fields: Fields) -> None:
        """Send a command to the room, and say what the server replies."""
        reply = await self._ask_all(fields)
        if reply is not None:
            await self._notify(*self._describe(reply))

    async def _ask_all(self, fields: Fields) -> Fields | None:
        """Do what `_ask` does, and return all pages of a list of bans as one reply."""
        reply = await self._ask(fields)
        bans: list[Fields] = [] if reply is None else reply.get("bans", [])
        for _ in range(MOST_PAGES):
            if reply is None or "next" not in reply:
                break
            reply = await self._ask(fields | {"after": reply["next"]})
            bans = bans if reply is None else [*bans, *reply["bans"]]
        return reply | {"bans": bans} if reply is not None and "bans" in reply else reply

    async def _ask(self, fields: Fields) -> Fields | None:
        """Send a command to the room, and return the reply; None, with a notice, where there is none."""
        with trio.move_on_after(ANSWER_SECONDS):
            await self._room.joined.wait()
        if self._room.client is None:
            await self._notify("there is no connection at the moment")
            return None
        try:
            return await self._room.client.request(fields | {"roomId": self._room.link.room_id})
        except Refused as error:
            await self._notify(describe_error(error))
        except Disconnected as error:
            await self._notify(str(error))
        return None

    def _describe(self, reply: Fields) -> Iterable[str]:
        """Return the notices for a reply; none where an event says the same."""
        left = self._room.seconds_until
        match reply["type"]:
            case "members":
                if "members" in reply:
                    self._room.people.set_members(reply["members"])
                return [describe_members(reply)]
            case "invite":
                people = counted(reply["people"], "person", "people")
                return [
                    f"an invite for {people}, and {duration(left(reply['expiresAt']))}:",
                    with_key(reply["link"], self._room.link.key),
                ]
            case "invites":
                return describe_invites(reply["invites"], left)
            case "bans":
                return describe_bans(reply["bans"], left)
            case "vote":
                return [f"you have voted. {describe_vote(reply, self._room.name(reply['userId']), left)}"]
            case _:
                return []

    async def _request_about(self, command: PersonCommand) -> None:
        people: Mapping[str, str] = self._room.people.others
        if command.banned:
            bans = await self._ask_all({"type": "bans"})
            if bans is None:
                return
            people = {ban["userId"]: ban["displayName"] for ban in bans["bans"]}
        if command.named_like_this is not None and command.named_like_this[0] in people.values():
            instead = command.named_like_this[1]
            if isinstance(instead, Wrong):
                await self._notify(instead.problem)
                return
            command = instead
        user_id = find_person(command.person.removeprefix("@"), people)
        await self._request(command.fields | {"userId": user_id})

    async def _revoke(self, start: str) -> None:
        reply = await self._ask({"type": "invites"})
        if reply is None:
            return
        found = [invite["inviteId"] for invite in reply["invites"] if invite["inviteId"].startswith(start)]
        if len(found) == 1:
            await self._request({"type": "revoke_invite", "inviteId": found[0]})
        else:
            await self._notify(f"{len(found) or 'no'} invites begin with {start}: /invites lists them")

    async def _unsend(self) -> None:
        if self._room.own_message is None:
            await self._notify("there is no message to take back")
        else:
            await self._request({"type": "unsend", "messageId": self._room.own_message})
            self._room.own_message = None

    # Messages

    async def _answer(self, typed: str) -> None:
        sender_id, content = None, typed
        if typed.startswith("@"):
            sender_id, content = split_person(typed[1:], self._room.people.others)
        message_id = self._room.last_message(sender_id)
        if message_id is None:
            await self._notify("there is no message to answer")
        else:
            await self._send(content, reply_to=message_id)

    async def _send(self, text: str, ttl: float | None = None, reply_to: str | None = None) -> None:
        if not text.strip():
            return
        if len(text.encode()) > self._room.longest_text:
            await self._notify(f"not sent: it is longer than {self._room.longest_text} bytes")
            return
        message = _Message(text, ttl, reply_to)
        if self._console.echoes:
            self._room.remember(message.message_id, self._room.people.own_id)
        # A retry with the same id is safe while the server remembers the id. After the TTL it could be stored twice.
        with trio.move_on_after(self._room.usual_ttl) as patience:
            while not await self._try_send(message, patience):
                pass
            return
        await self._notify("there was no answer in time: this may have been sent or not")

    async def _try_send(self, message: _Message, patience: trio.CancelScope) -> bool:
        """Send the message when the room is joined. Return False if it has to be tried again."""
        room = self._room
        await room.joined.wait()
        client = room.client
        if client is None:
            return False
        if room.has_no_key:
            await self._notify(f"not sent: {NO_KEY}")
            return True
        self._seal(message)
        message.first_sent_at = message.first_sent_at or trio.current_time()
        life = room.life if message.ttl is None else min(message.ttl, room.life)
        patience.deadline = min(patience.deadline, message.first_sent_at + life)
        optional = {"ttl": message.ttl, "replyTo": message.reply_to}
        send = {
            "type": "send",
            "roomId": room.link.room_id,
            "messageId": message.message_id,
            "content": message.content,
        } | {key: value for key, value in optional.items() if value is not None}
        try:
            await client.request(send)
        except Disconnected:
            await client.aclose()
            room.leave(client)
            return False
        except Refused as error:
            if error.retry:
                await trio.sleep(error.retry_after or 1.0)
                return False
            await self._notify(f"not sent: {describe_error(error)}")
            return True
        room.own_message = message.message_id
        return True

    def _seal(self, message: _Message) -> None:
        """Encrypt the text, once for the account that sends it: a retry has to be the same message."""
        own_id = self._room.people.own_id
        if self._room.cipher is None:
            message.content = message.text
        elif message.sealed_by != own_id:
            message.content = self._room.cipher.seal(message.text, own_id, message.message_id)
            message.sealed_by = own_id
