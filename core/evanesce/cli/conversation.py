"""A person in a room, in a terminal: what is typed goes out, what is said is printed, over all its connections."""

from __future__ import annotations

import math
import random
import uuid
from contextlib import aclosing

import trio

from evanesce.cli.client import ANSWER_SECONDS, Client, DeepLink, Disconnected, Fields, Refused, Unreachable
from evanesce.cli.console import Console, line, text
from evanesce.errors import CloseCode
from evanesce.model import Timestamp, milliseconds

LONGEST_PAUSE = 30.0
"""Between two attempts, in seconds."""

KNOWN_MESSAGES = 10_000
"""How many messages are remembered as seen: no server gives a longer history."""


class Conversation:
    """Holds a conversation over as many connections as it takes; they live in `nursery`."""

    def __init__(self, link: DeepLink, name: str, console: Console, nursery: trio.Nursery) -> None:
        self._link = link
        self._name = name
        self._console = console
        self._nursery = nursery
        self._client: Client | None = None
        self._joined = trio.Event()
        self._over = False
        self._failure: str | None = None
        self._attempt = 0
        self._user_id: str | None = None
        self._token: str | None = None
        self._token_half_over = 0.0
        self._heartbeat = 0.0
        self._ttl = 0.0
        self._content_bytes = 0
        self._cursor: str | None = None
        self._in_gap = False
        self._people: dict[str, str] = {}
        self._seen: dict[str, None] = {}
        self._own: str | None = None

    async def hold(self) -> str | None:
        """Talk until it is over; give why there was no way to go on, if so it ended."""
        while not self._over:
            after = await self._visit()
            if not self._over:
                await trio.sleep(self._pause(after))
        return self._failure

    def _pause(self, after: float | None) -> float:
        """Give the seconds to the next attempt: with jitter, so that a server that comes back is not overrun."""
        step = min(LONGEST_PAUSE, math.ldexp(0.5, min(self._attempt, 10)))
        self._attempt += 1
        return (after or 0.0) * random.uniform(1.0, 1.5) + step * random.uniform(0.5, 1.0)

    async def _visit(self) -> float | None:
        """Hold one connection to its end; give after how many seconds the server wants to see us again, if it said."""
        try:
            client = await Client.open(self._nursery, self._link.url)
        except Unreachable as error:
            if self._user_id is None:
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
        self._absent(client)
        ending = client.ending
        if self._over or ending is None:
            return None
        if ending.code == CloseCode.SIGN_IN_AGAIN:
            self._token = None
        elif not ending.reconnect:
            self._give_up(f"the server ended the connection: {ending.reason or ending.code}")
            return None
        await self._say(f"* {ending.reason or 'The connection is lost.'} Coming back …")
        return ending.reconnect_after

    async def _sign_in(self, client: Client) -> bool:
        hello: Fields = {"token": self._token}
        if self._token is None:
            hello = {"credential": {"provider": "guest", "displayName": self._name}}
        try:
            welcome = await client.request({"type": "hello"} | hello)
        except Disconnected:
            return False
        except Refused as error:
            if error.code == "invalid_token":
                self._token = None  # it ran out while there was no connection: come in as a new guest
            elif error.code == "unknown_provider":
                self._give_up(
                    f"this server lets no guests in, and a terminal is one: open the link in a browser. {error}"
                )
            elif error.retry:
                await self._say(f"* {error} Trying again.")
            else:
                self._give_up(str(error))
            return False
        self._attempt = 0
        self._ttl = welcome["messageTtl"]
        self._content_bytes = welcome["limits"]["contentBytes"]
        self._heartbeat = welcome["heartbeat"]
        self._keep_token(welcome, welcome["serverTime"])
        if self._user_id is None:
            self._nursery.start_soon(self._listen)
        self._user_id = welcome["userId"]
        return True

    def _keep_token(self, reply: Fields, now: Timestamp) -> None:
        if "token" in reply:
            self._token = reply["token"]
            life = milliseconds(reply["tokenExpiresAt"]) - milliseconds(now)
            self._token_half_over = trio.current_time() + life / 2000

    async def _keep_alive(self, client: Client) -> None:
        """Find out in time that the connection is dead, and renew the token when half of its time is over."""
        while True:
            await trio.sleep(min(2 * self._heartbeat, max(1.0, self._token_half_over - trio.current_time())))
            try:
                pong = await client.request({"type": "ping"})
                if trio.current_time() >= self._token_half_over:
                    self._token_half_over += 60.0  # the next attempt, should this one be refused
                    self._keep_token(await client.request({"type": "refresh"}), pong["serverTime"])
                    await client.request({"type": "hello", "token": self._token})
            except Disconnected:
                await client.aclose()
                return
            except Refused:
                continue  # `refresh`, too long after the sign-in: the server will say when it is over

    async def _join(self, client: Client) -> None:
        while True:
            join: Fields = {"type": "join", "roomId": self._link.room_id}
            if self._cursor is not None:
                join["since"] = self._cursor
            try:
                await client.request(join)
                return
            except Disconnected:
                await client.aclose()
                return
            except Refused as error:
                if not error.retry:
                    self._give_up(str(error))
                    await client.aclose()
                    return
                await self._say(f"* {error} Trying again.")
                await trio.sleep(error.retry_after or 1.0)

    def _absent(self, client: Client) -> None:
        if self._client is client:
            self._client = None
            self._joined = trio.Event()

    def _give_up(self, failure: str) -> None:
        self._failure = failure
        self._over = True

    # What comes in

    async def _show(self, event: Fields, client: Client, nursery: trio.Nursery) -> None:
        match event["type"]:
            case "joined":
                await self._enter(event, client)
            case "message":
                await self._print(event)
            case "gap":
                self._cursor = event["since"]
                self._in_gap = True
                nursery.start_soon(self._join, client)
            case "unsent":
                await self._say("* a message was taken back")
            case "skipped":
                await self._say(f"* {event['count']} messages faded before they could reach you")
            case "member_joined":
                self._people[event["userId"]] = event["displayName"]
                await self._say(f"* {event['displayName']} came in")
            case "member_left":
                await self._say(f"* {self._people.pop(event['userId'], 'someone')} left")
            case "member_updated":
                before = self._people.get(event["userId"], "someone")
                self._people[event["userId"]] = event["displayName"]
                await self._say(f"* {before} is now {event['displayName']}")
            case "member_count":
                self._people.clear()
            case "room_closed":
                self._over = True
                await self._say(f"* this room is closed: {event['reason']}")
                await client.aclose()
            case _:
                pass

    async def _enter(self, joined: Fields, client: Client) -> None:
        self._people = {member["userId"]: member["displayName"] for member in joined.get("members", ())}
        if self._client is not client:
            await self._say(f"* you are in the room: {_people(joined)}. /members, /unsend, /quit")
        if joined["missed"] is None:
            await self._say("* you may have missed messages that are gone by now")
        elif joined["missed"] > 0:
            await self._say(f"* you missed {joined['missed']} messages")
        self._in_gap = False
        for message in joined["messages"]:
            await self._print(message)
        self._cursor = joined["cursor"]
        self._client = client
        self._joined.set()

    async def _print(self, message: Fields) -> None:
        if not self._in_gap:
            self._cursor = message["cursor"]
        if self._remember(message["messageId"]):
            await self._console.print(f"{line(message['senderName'])}: {text(message['content'])}")

    def _remember(self, message_id: str) -> bool:
        """Give whether this message is new."""
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        if len(self._seen) > KNOWN_MESSAGES:
            del self._seen[next(iter(self._seen))]
        return True

    async def _say(self, notice: str) -> None:
        await self._console.print(line(notice))

    # What goes out

    async def _listen(self) -> None:
        async with aclosing(self._console.lines()) as lines:
            async for typed in lines:
                if typed == "/quit":
                    break
                if typed == "/members":
                    await self._ask({"type": "members"})
                elif typed == "/unsend":
                    await self._unsend()
                elif typed.strip():
                    await self._speak(typed)
        with trio.move_on_after(ANSWER_SECONDS):
            await self._joined.wait()  # or the refusal, which ends everything: an empty input must not hide it
        self._over = True
        if self._client is not None:
            await self._client.aclose()
        self._nursery.cancel_scope.cancel()

    async def _ask(self, command: Fields) -> None:
        if self._client is None:
            await self._say("* there is no connection at the moment")
            return
        try:
            reply = await self._client.request(command | {"roomId": self._link.room_id})
        except (Refused, Disconnected) as error:
            await self._say(f"* {error}")
        else:
            if reply["type"] == "members":
                await self._say(f"* {_people(reply)}")

    async def _unsend(self) -> None:
        if self._own is None:
            await self._say("* there is nothing to take back")
        else:
            await self._ask({"type": "unsend", "messageId": self._own})
            self._own = None

    async def _speak(self, content: str) -> None:
        if len(content.encode()) > self._content_bytes:
            await self._say(f"* not sent: it is longer than {self._content_bytes} bytes")
            return
        message_id = str(uuid.uuid4())
        if self._console.echoes:
            self._remember(message_id)
        # Asking again under the same id is safe as long as the server would still know it: after that it might be
        # stored twice.
        with trio.move_on_after(self._ttl):
            while not await self._sent(content, message_id):
                pass
            return
        await self._say("* it is not known whether this was sent: there was no answer in time")

    async def _sent(self, content: str, message_id: str) -> bool:
        """Try once, as soon as the room is joined; give whether that settled it."""
        await self._joined.wait()
        client = self._client
        if client is None:
            return False
        send = {"type": "send", "roomId": self._link.room_id, "messageId": message_id, "content": content}
        try:
            await client.request(send)
        except Disconnected:
            await client.aclose()
            self._absent(client)
            return False
        except Refused as error:
            if error.retry:
                await trio.sleep(error.retry_after or 1.0)
                return False
            await self._say(f"* not sent: {error}")
            return True
        self._own = message_id
        return True


def _people(reply: Fields) -> str:
    """Say how many are in a room, and who, where the server names them."""
    count = reply["memberCount"]
    names = ", ".join(sorted(member["displayName"] for member in reply.get("members", ())))
    return f"{count} {'person' if count == 1 else 'people'}{': ' if names else ''}{names}"
