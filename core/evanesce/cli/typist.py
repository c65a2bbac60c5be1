"""What is typed into a terminal: messages are sent until the server has them, commands are carried out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing

from evanesce.cli.console import Console, line
from evanesce.cli.notices import (
    counted,
    describe_bans,
    describe_error,
    describe_invites,
    describe_members,
    duration,
)
from evanesce.cli.people import NotOnePerson, find_person, split_person
from evanesce.cli.room_state import RoomState
from evanesce.cli.typed import COMMANDS, Answer, Local, PersonCommand, Revoke, RoomCommand, Say, Wrong, parse
from evanesce.client.connection import Fields
from evanesce.client.errors import KeyMissing, Refused
from evanesce.client.links import with_key
from evanesce.errors import EvanesceError
from evanesce.model import new_id

NO_KEY = "this room is encrypted, and the link has no key (#k=…): ask for the whole link"


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
        try:
            return await self._room.room.request(fields)
        except Refused as error:
            await self._notify(describe_error(error))
        except EvanesceError as error:  # there is no connection, or it was lost
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
                return ["you have voted"]  # an event tells everybody how it stands
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
        if self._room.is_away:
            await self._notify("it waits until the connection is back")
        message_id = new_id()
        if self._console.echoes:
            self._room.remember(message_id, self._room.people.own_id)
        try:
            await self._room.room.send(text, ttl=ttl, reply_to=reply_to, message_id=message_id)
        except Refused as error:
            await self._notify(f"not sent: {describe_error(error)}")
        except KeyMissing:
            await self._notify(f"not sent: {NO_KEY}")
        except EvanesceError as error:  # it says whether the message may have been sent
            await self._notify(str(error))
        else:
            self._room.own_message = message_id
