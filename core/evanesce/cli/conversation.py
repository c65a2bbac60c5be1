"""A chat in a terminal: typed lines are sent, messages are printed, and lost connections are replaced."""

from __future__ import annotations

import math
import random
import uuid
from contextlib import aclosing

import trio

from evanesce.cli.client import (
    ANSWER_SECONDS,
    Client,
    CloseReason,
    DeepLink,
    Disconnected,
    Fields,
    Refused,
    Unreachable,
)
from evanesce.cli.console import Console, line, text
from evanesce.errors import CloseCode
from evanesce.model import Timestamp, milliseconds

LONGEST_PAUSE = 30.0
"""The longest pause before another connection, in seconds."""

KNOWN_MESSAGES = 10_000
"""How many ids of printed messages are remembered. No server sends a longer history."""


UNHINTED = 3
"""Every third attempt in a row does not name the room in the address: another worker may be reachable."""


class Conversation:
    """A chat in one room, over as many connections as necessary, one after the other, which run in `nursery`."""

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
        self._opened = 0  # connections since the last `welcome`, those that failed included
        self._user_id: str | None = None
        self._token: str | None = None
        self._token_half_over = 0.0
        self._heartbeat = 0.0
        self._ttl = 0.0
        self._content_bytes = 0
        self._cursor: str | None = None
        self._in_gap = False
        self._members: dict[str, str] = {}
        self._seen: dict[str, None] = {}
        self._own: str | None = None

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
        self._forget(client)
        closed = client.close_reason
        if self._over or closed is None:
            return None
        self._note_close(closed)
        if self._over:
            return None
        await self._notify(f"* {closed.reason or 'The connection is lost.'} Reconnecting …")
        return closed.reconnect_after

    async def _open(self) -> Client:
        """Open a connection, usually with the room in its address. Raises `Unreachable`.

        The first one is tried without the room as well, because the chat ends where it fails.
        """
        self._opened += 1
        if self._opened % UNHINTED:
            try:
                return await Client.open(self._nursery, self._link.hinted_url)
            except Unreachable:
                if self._user_id is not None:
                    raise
        return await Client.open(self._nursery, self._link.url)

    def _note_close(self, closed: CloseReason) -> None:
        """Sign in again, or do not reconnect, if the server demands that."""
        if closed.code == CloseCode.SIGN_IN_AGAIN:
            self._token = None
        elif not closed.reconnect:
            self._give_up(f"the server closed the connection: {closed.reason or closed.code}")

    async def _sign_in(self, client: Client) -> bool:
        hello: Fields = {"token": self._token}
        if self._token is None:
            hello = {"credential": {"provider": "guest", "displayName": self._name}}
        try:
            welcome = await client.request({"type": "hello"} | hello)
        except Disconnected:
            if client.close_reason is not None:
                self._note_close(client.close_reason)
            return False
        except Refused as error:
            if error.code == "invalid_token":
                self._token = None  # it expired while there was no connection: sign in as a new guest
            elif error.code == "unknown_provider":
                self._give_up(
                    "this server has no sign-in for guests, which a terminal needs:"
                    f" open the link in a browser. {error}"
                )
            elif error.retry:
                await self._notify(f"* {error} Trying again.")
            else:
                self._give_up(str(error))
            return False
        self._attempt = 0
        self._opened = 0
        self._ttl = welcome["messageTtl"]
        self._content_bytes = welcome["limits"]["contentBytes"]
        self._heartbeat = welcome["heartbeat"]
        self._keep_token(welcome, welcome["serverTime"])
        if self._user_id is None:
            self._nursery.start_soon(self._read_input)
        self._user_id = welcome["userId"]
        return True

    def _keep_token(self, reply: Fields, now: Timestamp) -> None:
        if "token" in reply:
            self._token = reply["token"]
            life = milliseconds(reply["tokenExpiresAt"]) - milliseconds(now)
            self._token_half_over = trio.current_time() + life / 2000

    async def _keep_alive(self, client: Client) -> None:
        """Detect a dead connection with pings, and renew the token after half of its lifetime."""
        while True:
            await trio.sleep(min(2 * self._heartbeat, max(1.0, self._token_half_over - trio.current_time())))
            try:
                pong = await client.request({"type": "ping"})
                if trio.current_time() >= self._token_half_over:
                    self._token_half_over += 60.0  # the next attempt, in case this one is refused
                    self._keep_token(await client.request({"type": "refresh"}), pong["serverTime"])
                    await client.request({"type": "hello", "token": self._token})
            except Disconnected:
                await client.aclose()
                return
            except Refused:
                continue  # `refresh` too long after the sign-in: the server will close the connection

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
                await self._notify(f"* {error} Trying again.")
                await trio.sleep(error.retry_after or 1.0)

    def _forget(self, client: Client) -> None:
        if self._client is client:
            self._client = None
            self._joined = trio.Event()

    def _give_up(self, failure: str) -> None:
        self._failure = failure
        self._over = True

    # Receiving

    async def _show(self, event: Fields, client: Client, nursery: trio.Nursery) -> None:
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
                await self._notify("* a message was taken back")
            case "skipped":
                await self._notify(f"* {event['count']} messages expired before they could reach you")
            case "member_joined":
                self._members[event["userId"]] = event["displayName"]
                await self._notify(f"* {event['displayName']} joined")
            case "member_left":
                await self._notify(f"* {self._members.pop(event['userId'], 'someone')} left")
            case "member_updated":
                before = self._members.get(event["userId"], "someone")
                self._members[event["userId"]] = event["displayName"]
                await self._notify(f"* {before} is now {event['displayName']}")
            case "member_count":
                self._members.clear()
            case "room_closed":
                self._over = True
                await self._notify(f"* this room was closed: {event['reason']}")
                await client.aclose()
            case _:
                pass

    async def _print_joined(self, joined: Fields, client: Client) -> None:
        self._members = {member["userId"]: member["displayName"] for member in joined.get("members", ())}
        if self._client is not client:
            await self._notify(f"* you are in the room: {_describe_members(joined)}. /members, /unsend, /quit")
        if joined["missed"] is None:
            await self._notify("* you may have missed messages that have expired")
        elif joined["missed"] > 0:
            await self._notify(f"* you missed {joined['missed']} messages")
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
        """Remember the id of a message, and return whether it is new."""
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        if len(self._seen) > KNOWN_MESSAGES:
            del self._seen[next(iter(self._seen))]
        return True

    async def _notify(self, notice: str) -> None:
        await self._console.print(line(notice))

    # Sending

    async def _read_input(self) -> None:
        async with aclosing(self._console.lines()) as lines:
            async for typed in lines:
                if typed == "/quit":
                    break
                if typed == "/members":
                    await self._request({"type": "members"})
                elif typed == "/unsend":
                    await self._unsend()
                elif typed.strip():
                    await self._send(typed)
        with trio.move_on_after(ANSWER_SECONDS):
            await self._joined.wait()  # or for a refusal, which an empty input must not hide
        self._over = True
        if self._client is not None:
            await self._client.aclose()
        self._nursery.cancel_scope.cancel()

    async def _request(self, command: Fields) -> None:
        if self._client is None:
            await self._notify("* there is no connection at the moment")
            return
        try:
            reply = await self._client.request(command | {"roomId": self._link.room_id})
        except (Refused, Disconnected) as error:
            await self._notify(f"* {error}")
        else:
            if reply["type"] == "members":
                await self._notify(f"* {_describe_members(reply)}")

    async def _unsend(self) -> None:
        if self._own is None:
            await self._notify("* there is no message to take back")
        else:
            await self._request({"type": "unsend", "messageId": self._own})
            self._own = None

    async def _send(self, content: str) -> None:
        if len(content.encode()) > self._content_bytes:
            await self._notify(f"* not sent: it is longer than {self._content_bytes} bytes")
            return
        message_id = str(uuid.uuid4())
        if self._console.echoes:
            self._remember(message_id)
        # A retry with the same id is safe while the server remembers the id. After the TTL it could be stored twice.
        with trio.move_on_after(self._ttl):
            while not await self._try_send(content, message_id):
                pass
            return
        await self._notify("* there was no answer in time: this may have been sent or not")

    async def _try_send(self, content: str, message_id: str) -> bool:
        """Send the message when the room is joined. Return False if it has to be tried again."""
        await self._joined.wait()
        client = self._client
        if client is None:
            return False
        send = {"type": "send", "roomId": self._link.room_id, "messageId": message_id, "content": content}
        try:
            await client.request(send)
        except Disconnected:
            await client.aclose()
            self._forget(client)
            return False
        except Refused as error:
            if error.retry:
                await trio.sleep(error.retry_after or 1.0)
                return False
            await self._notify(f"* not sent: {error}")
            return True
        self._own = message_id
        return True


def _describe_members(reply: Fields) -> str:
    """Return the number of members of a room, and their names if the server sends them."""
    count = reply["memberCount"]
    names = ", ".join(sorted(member["displayName"] for member in reply.get("members", ())))
    return f"{count} {'person' if count == 1 else 'people'}{': ' if names else ''}{names}"
