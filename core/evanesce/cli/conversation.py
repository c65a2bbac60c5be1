"""A chat in a terminal: typed lines are sent, messages and what happens in the room are printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from evanesce.cli.connection_notices import ConnectionNotices
from evanesce.cli.console import Console, line, text
from evanesce.cli.notices import (
    describe_changes,
    describe_error,
    describe_members,
    describe_mute,
    describe_removal,
    describe_rules,
    describe_vote,
)
from evanesce.cli.room_state import RoomState
from evanesce.cli.typist import NO_KEY, Typist
from evanesce.client.client import Client
from evanesce.client.connection import ANSWER_SECONDS, Fields
from evanesce.client.errors import NotSent, Refused, Stopped
from evanesce.client.events import fields_of
from evanesce.client.links import DeepLink


class Conversation:
    """A chat in one room, with a client that is signed in.

    Raises `EncryptionMissing` where the key of `link` cannot be used.
    """

    def __init__(self, link: DeepLink, client: Client, console: Console, connection: ConnectionNotices) -> None:
        self._console = console
        self._connection = connection
        self._room = RoomState(link, client)
        self._failure: str | None = None
        self._rules_shown: Fields | None = None

    async def run(self) -> str | None:
        """Chat until the end, and return the reason of a failure, or None."""
        async with trio.open_nursery() as nursery:
            for part in (self._read_input, self._show_events, self._watch_connection):
                nursery.start_soon(self._end_with, part, nursery.cancel_scope)
        return self._failure

    async def _end_with(self, part: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        await part()
        scope.cancel()

    async def _read_input(self) -> None:
        await Typist(self._room, self._console).run()
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                await self._room.room.joined()
            except Refused as error:  # an empty input must not hide it
                self._failure = describe_error(error)
            except (NotSent, Stopped):
                return  # the room or the connection has ended, which the other tasks tell

    async def _watch_connection(self) -> None:
        self._failure = await self._connection.run()

    async def _show_events(self) -> None:
        try:
            async for event in self._room.room:
                await self._show(fields_of(event))
        except Stopped:
            await trio.sleep_forever()  # until the reason was shown

    # Receiving

    async def _show(self, event: Fields) -> None:
        people = self._room.people
        match event["type"]:
            case "joined":
                await self._print_joined(event)
            case "message":
                await self._print(event)
            case "unsent":
                is_own = self._room.sender(event["messageId"]) == people.own_id
                self._room.forget_unsent(event["messageId"])
                await self._notify("you took your message back" if is_own else "a message was taken back")
            case "missed":
                await self._print_missed(event)
            case "member_joined":
                people.add(event["userId"], event["displayName"])
                await self._notify(f"{event['displayName']} joined")
            case "member_left":
                left = "was removed" if event.get("removed") else "left"
                await self._notify(f"{people.remove(event['userId'])} {left}")
            case "member_updated":
                before = people.name(event["userId"])
                people.add(event["userId"], event["displayName"])
                await self._notify(f"{before} is now {event['displayName']}")
            case "member_count":
                people.set_members([])
            case "removed":
                await self._notify(describe_removal(event, self._room.seconds_until))
            case "room_closed":
                await self._notify(f"this room was closed: {event['reason']}")
            case "left" if event["reason"] == "refused":
                self._failure = None if self._room.room.refused is None else describe_error(self._room.room.refused)
            case _:
                await self._show_rules(event)

    async def _show_rules(self, event: Fields) -> None:
        """Show an event about the rules of the room, or none that this client knows."""
        left = self._room.seconds_until
        match event["type"]:
            case "room_updated":
                changes = describe_changes(self._room.update(event), event)
                self._rules_shown = self._room.options
                if changes:
                    await self._notify(f"the creator of the room has changed it: {changes}")
            case "member_muted":
                own = event["userId"] == self._room.people.own_id
                name = self._room.people.name(event["userId"])
                await self._notify(describe_mute(name, own, event.get("until"), left))
            case "vote":
                await self._notify(describe_vote(event, self._room.name(event["userId"]), left))
            case _:
                pass

    async def _print_joined(self, joined: Fields) -> None:
        room = self._room
        room.people.set_members(joined.get("members", ()))
        room.update(joined["room"])
        if not self._connection.rejoins:
            return
        self._connection.rejoins = False
        await self._notify(f"you are in the room: {describe_members(joined)}. /help lists the commands, /quit leaves")
        await self._print_rules()

    async def _print_missed(self, missed: Fields) -> None:
        if missed["count"] is None:
            await self._notify("you may have missed messages that have expired")
        elif missed["reason"] == "resume":
            await self._notify(f"you missed {missed['count']} messages")
        else:
            await self._notify(f"{missed['count']} messages expired before they could reach you")

    async def _print_rules(self) -> None:
        """Show what is special about the room, unless the same was shown before."""
        room = self._room
        if room.options == self._rules_shown:
            return
        self._rules_shown = room.options
        rules = describe_rules(room.options, room.usual_ttl)
        if rules:
            await self._notify(f"about this room: {rules}")
        if room.has_no_key:
            await self._notify(NO_KEY)
        elif room.link.key is not None and not room.options["encrypted"]:
            await self._notify("the server says that this room is not encrypted. The link has a key: it is used anyway")

    async def _print(self, message: Fields) -> None:
        room = self._room
        room.people.note_sender(message["senderId"], message["senderName"])
        if not room.remember(message["messageId"], message["senderId"]):
            return
        who = message["senderName"]
        if "replyTo" in message:
            answered = room.sender(message["replyTo"])
            who += f", in reply to {'an earlier message' if answered is None else room.name(answered)}"
        if message["content"] is None:
            await self._notify(f"a message of {who} cannot be opened")
        else:
            await self._console.print(f"{line(who)}: {text(message['content'])}")

    async def _notify(self, notice: str) -> None:
        await self._console.print(line(f"* {notice}"))
