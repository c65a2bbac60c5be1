"""A chat in a terminal: typed lines are sent, messages are printed, and lost connections are replaced."""

from __future__ import annotations

import math
import random

import trio

from evanesce.cli.account import GuestAccount
from evanesce.cli.console import Console, line, text
from evanesce.cli.new_room import NO_GUESTS
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
from evanesce.client.connection import ANSWER_SECONDS, CloseReason, Connection, Fields
from evanesce.client.errors import Disconnected, Refused, Unreachable
from evanesce.client.links import DeepLink
from evanesce.errors import CloseCode

LONGEST_PAUSE = 30.0
"""The longest pause before another connection, in seconds."""

UNHINTED = 3
"""Every third attempt in a row does not name the room in the address: another worker may be reachable."""


class Conversation:
    """A chat in one room, over as many connections as necessary, one after the other, which run in `nursery`.

    Raises `EncryptionMissing` where the key of `link` cannot be used.
    """

    def __init__(self, link: DeepLink, account: GuestAccount, console: Console, nursery: trio.Nursery) -> None:
        self._link = link
        self._account = account
        self._console = console
        self._nursery = nursery
        self._room = RoomState(link)
        self._over = False
        self._failure: str | None = None
        self._attempt = 0
        self._opened = 0  # connections since the last `welcome`, those that failed included
        self._welcomed = False
        self._heartbeat = 0.0
        self._cursor: str | None = None
        self._in_gap = False
        self._rules_shown: Fields | None = None

    async def run(self) -> str | None:
        """Chat until the end, and return the reason of a failure, or None."""
        while not self._over:
            after = await self._connect()
            if not self._over:
                await trio.sleep(self._pause(after))
        return self._failure

    def _pause(self, after: float | None) -> float:
        """Return the seconds until the next connection: random, so that a restarted server is not flooded."""
        step = min(LONGEST_PAUSE, math.ldexp(0.5, min(self._attempt, 10)))
        self._attempt += 1
        return (after or 0.0) * random.uniform(1.0, 1.5) + step * random.uniform(0.5, 1.0)

    async def _connect(self) -> float | None:
        """Use one connection until it ends. Return the seconds after which the server asks for a new one, or None."""
        try:
            client = await self._open()
        except Unreachable as error:
            if not self._welcomed:
                self._give_up(f"cannot reach {self._link.host}: {error}")
            return None
        if not await self._sign_in(client):
            await client.aclose()
            return None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive, client)
            nursery.start_soon(self._join, client)
            async for event in client.events:
                await self._show(event, client, nursery)
            nursery.cancel_scope.cancel()
        self._room.leave(client)
        closed = client.close_reason
        if self._over or closed is None:
            return None
        self._note_close(closed)
        if self._over:
            return None
        await self._notify(f"{closed.reason or 'The connection is lost.'} Reconnecting …")
        return closed.reconnect_after

    async def _open(self) -> Connection:
        """Open a connection, usually with the room in its address. Raises `Unreachable`.

        The first one is tried without the room as well, because the chat ends where it fails.
        """
        self._opened += 1
        if self._opened % UNHINTED:
            try:
                return await Connection.open(self._nursery, self._link.hinted_url)
            except Unreachable:
                if self._welcomed:
                    raise
        return await Connection.open(self._nursery, self._link.url)

    def _note_close(self, closed: CloseReason) -> None:
        """Sign in again, or do not reconnect, if the server demands that."""
        if closed.code == CloseCode.SIGN_IN_AGAIN:
            self._account.token = None
        elif not closed.reconnect:
            self._give_up(f"the server closed the connection: {closed.reason or closed.code}")

    async def _sign_in(self, client: Connection) -> bool:
        try:
            welcome = await client.request(self._account.hello())
        except Disconnected:
            if client.close_reason is not None:
                self._note_close(client.close_reason)
            return False
        except Refused as error:
            if error.code == "invalid_token":
                self._account.token = None  # it expired while there was no connection: sign in as a new guest
            elif error.code == "unknown_provider":
                self._give_up(f"{NO_GUESTS} {error}")
            elif error.retry:
                await self._notify(f"{error} Trying again.")
            else:
                self._give_up(str(error))
            return False
        self._attempt = 0
        self._opened = 0
        self._heartbeat = welcome["heartbeat"]
        self._account.keep(welcome, welcome["serverTime"])
        self._room.welcome(welcome)
        if not self._welcomed:
            self._welcomed = True
            self._nursery.start_soon(self._read_input)
        return True

    async def _keep_alive(self, client: Connection) -> None:
        """Detect a dead connection with pings, and renew the token after half of its lifetime."""
        while True:
            await trio.sleep(min(2 * self._heartbeat, max(1.0, self._account.renew_in)))
            try:
                pong = await client.request({"type": "ping"})
                self._room.set_time(pong["serverTime"])
                if self._account.renew_in <= 0:
                    self._account.postpone_renewal()
                    self._account.keep(await client.request({"type": "refresh"}), pong["serverTime"])
                    await client.request(self._account.hello())
            except Disconnected:
                await client.aclose()
                return
            except Refused:
                continue  # `refresh` too long after the sign-in: the server will close the connection

    async def _join(self, client: Connection) -> None:
        while True:
            join: Fields = {"type": "join", "roomId": self._link.room_id}
            if self._cursor is not None:
                join["since"] = self._cursor
            if self._link.invite is not None:
                join["invite"] = self._link.invite
            try:
                await client.request(join)
                return
            except Disconnected:
                await client.aclose()
                return
            except Refused as error:
                if not error.retry:
                    self._give_up(describe_error(error))
                    await client.aclose()
                    return
                await self._notify(f"{error} Trying again.")
                await trio.sleep(error.retry_after or 1.0)

    def _give_up(self, failure: str) -> None:
        self._failure = failure
        self._over = True

    # Receiving

    async def _show(self, event: Fields, client: Connection, nursery: trio.Nursery) -> None:
        people = self._room.people
        match event["type"]:
            case "joined":
                await self._print_joined(event, client)
            case "message":
                await self._print(event)
            case "gap":
                self._cursor = event["since"]
                self._in_gap = True
                nursery.start_soon(self._join, client)
            case "unsent":
                self._room.forget_unsent(event["messageId"])
                await self._notify("a message was taken back")
            case "skipped":
                await self._notify(f"{event['count']} messages expired before they could reach you")
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
                await self._end(describe_removal(event, self._room.seconds_until), client)
            case "room_closed":
                await self._end(f"this room was closed: {event['reason']}", client)
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
            case "vote" if "ref" not in event:  # the reply is shown to who typed the command
                await self._notify(describe_vote(event, self._room.name(event["userId"]), left))
            case _:
                pass

    async def _end(self, notice: str, client: Connection) -> None:
        self._over = True
        await self._notify(notice)
        await client.aclose()

    async def _print_joined(self, joined: Fields, client: Connection) -> None:
        room = self._room
        room.people.set_members(joined.get("members", ()))
        room.update(joined.get("room", {}))
        entered = room.client is not client
        room.enter(client)  # before anything is printed: who reads that may type a command
        if entered:
            await self._notify(
                f"you are in the room: {describe_members(joined)}. /help lists the commands, /quit leaves"
            )
            await self._print_rules()
        if joined["missed"] is None:
            await self._notify("you may have missed messages that have expired")
        elif joined["missed"] > 0:
            await self._notify(f"you missed {joined['missed']} messages")
        self._in_gap = False
        for message in joined["messages"]:
            await self._print(message)
        self._cursor = joined["cursor"]

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
        elif room.cipher is not None and not room.options["encrypted"]:
            await self._notify("the server says that this room is not encrypted. The link has a key: it is used anyway")

    async def _print(self, message: Fields) -> None:
        if not self._in_gap:
            self._cursor = message["cursor"]
        room = self._room
        room.people.note_sender(message["senderId"], message["senderName"])
        if not room.remember(message["messageId"], message["senderId"]):
            return
        who = message["senderName"]
        if "replyTo" in message:
            answered = room.sender(message["replyTo"])
            who += f", in reply to {'an earlier message' if answered is None else room.name(answered)}"
        content = room.read(message)
        if content is None:
            await self._notify(f"a message of {who} cannot be opened")
        else:
            await self._console.print(f"{line(who)}: {text(content)}")

    async def _notify(self, notice: str) -> None:
        await self._console.print(line(f"* {notice}"))

    # Sending

    async def _read_input(self) -> None:
        await Typist(self._room, self._console).run()
        with trio.move_on_after(ANSWER_SECONDS):
            await self._room.joined.wait()  # or for a refusal, which an empty input must not hide
        self._over = True
        if self._room.client is not None:
            await self._room.client.aclose()
        self._nursery.cancel_scope.cancel()
