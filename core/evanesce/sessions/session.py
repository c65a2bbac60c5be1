"""A session: one connection from its first frame to its last, in one task."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Collection, Sequence

import msgspec
import trio
from msgspec import UNSET

from evanesce.errors import BadRequest, CloseCode, CommandError, ErrorCode, RateLimited, StoreUnavailable
from evanesce.frame import Frame, Outgoing, frames
from evanesce.interfaces import Connection
from evanesce.logs import folded
from evanesce.model import Draft, Timestamp, UserSeen, new_id, timestamp
from evanesce.protocol import codec, commands, events
from evanesce.rooms.errors import not_member
from evanesce.rooms.inbox import InboxClosed
from evanesce.rooms.requests import AskMembers, Enter, Post, Quit, RoomRequest, Withdraw, Write
from evanesce.rooms.room import Room
from evanesce.sessions.operations import SignedIn
from evanesce.sessions.services import Services

logger = logging.getLogger(__name__)

BAD_FRAMES = 20
"""How many bad frames in a row end a connection."""

INBOX_SECONDS = 1.0
"""How long a command waits for room in a room's inbox."""

SETTLE_SECONDS = 2.0
"""How long a connection that the server ends waits for the answers to what it accepted."""

DEPART_SECONDS = 10.0
"""How long signing out, or erasing an account with its rooms, may take."""

SEEN_SECONDS = 10.0
"""How often `lastActive` moves."""

TOO_FAST = "Too fast. Wait a moment."
GOING_AWAY = "The server is going away."
RESTARTING = "The server is restarting."
FAULT = "A fault in the server ended this connection. Come back in a moment."

_BACKLOG_SHARE = 4  # a connection is backlogged when a fourth of its outbox is full


class Session:
    """What a connection is to the server: who it is, which rooms it is in, and how it ends."""

    def __init__(self, connection: Connection, services: Services, bearer: str | None = None) -> None:
        self._connection = connection
        self._services = services
        self._config = services.config
        self._bearer = bearer
        self._who: SignedIn | None = None
        # The rooms that it is in, or will be in once its last join of each is done.
        self._rooms: dict[str, Room] = {}
        self._joins: dict[str, Enter] = {}
        self._scope = trio.CancelScope()
        self._ending: tuple[CloseCode, str] | None = None
        self._open = True
        self._bad_frames = 0
        self._awaited = 0  # requests that rooms have not answered yet
        self._settled: trio.Event | None = None
        self._seen_at = -math.inf
        self._pinged_at = -math.inf
        self._next_look = trio.current_time() + self._config.limits.hello_seconds
        self._reading = False  # it waits for a frame

    # --- what the Hub and the rooms see ---------------------------------------------------------------------------

    @property
    def user_id(self) -> str:
        """Who it is. It has to have signed in."""
        return self._signed_in.user.user_id

    @property
    def display_name(self) -> str:
        """What the others call them. It has to have signed in."""
        return self._signed_in.user.display_name

    @property
    def sign_in_id(self) -> str:
        """Which sign-in its token is of. It has to have signed in."""
        return self._signed_in.claims.sid

    @property
    def rooms(self) -> Collection[Room]:
        """Which rooms it is in."""
        return self._rooms.values()

    @property
    def backlogged(self) -> bool:
        """Whether the network has yet to take much of what it was given."""
        return self._connection.waiting_bytes > self._config.limits.outbox_bytes // _BACKLOG_SHARE

    def write(self, frame: Frame) -> None:
        """Pass a frame on; a connection that is too slow for it is ended."""
        if self._open and not self._connection.write(frame):
            self.end(CloseCode.TOO_SLOW, "Too slow: too much was waiting. Come back, and resume with `since`.")

    def answer(self, replies: Sequence[Outgoing], *, requests: int = 1) -> None:
        """Pass on the replies to so many of its requests."""
        for frame in frames(replies):
            self.write(frame)
        self._settle(requests)

    def refuse(self, ref: commands.Ref | None, error: CommandError) -> None:
        """Say that one of its requests was refused."""
        self._refuse(ref, error)
        self._settle(1)

    def dismissed(self, room_id: str, join: Enter | None = None) -> None:
        """Learn that it is no member of a room any more, or, with `join`, that this one did not make it one."""
        if join is None or self._joins.get(room_id) is join:
            self._forget(room_id)

    def renamed(self, display_name: str) -> None:
        """Learn that the user has a new name."""
        who = self._signed_in
        self._who = SignedIn(msgspec.structs.replace(who.user, display_name=display_name), who.claims)

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection; the first reason counts."""
        if self._ending is None:
            self._ending = (code, reason)
            self._scope.cancel()

    # --- its life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Talk with the client until it leaves or is ended; then close the connection, whatever happened."""
        self._services.metrics.connections.inc()
        try:
            with self._scope:
                await self._talk()
            if self._scope.cancelled_caught and self._ending is None:
                self._ending = (CloseCode.SIGN_IN_AGAIN, "The token has run out. Sign in again.")
        except trio.Cancelled:
            self.end(CloseCode.GOING_AWAY, GOING_AWAY)
            raise
        except Exception as error:  # the border around a connection: its fault ends it alone
            logger.error("a session failed: %s", folded(error))
            self._services.metrics.faults.labels("session").inc()
            self._ending = (CloseCode.FAULT, FAULT)
        finally:
            with trio.CancelScope(shield=True):
                await self._finish()

    async def _finish(self) -> None:
        going_away = self._ending is not None and self._ending[0] in (CloseCode.GOING_AWAY, CloseCode.RESTARTING)
        if going_away:
            with trio.move_on_after(SETTLE_SECONDS):
                await self._settle_down()
        code, reason = self._ending or (CloseCode.NORMAL, "")
        goodbye: Frame | None = None
        if self._ending is not None:
            self._services.metrics.closed.labels(str(code.value)).inc()
            goodbye = Frame([Outgoing(_goodbye(code, reason))])
        self._open = False
        if self._who is not None:
            self._seen(at_once=True)
            self._services.hub.dismiss(self)
        for room in self._rooms.values():
            _put_over(room, Quit(self, None))
        self._rooms.clear()
        self._joins.clear()
        await self._connection.close(code.value, reason, goodbye)
        self._services.metrics.skipped.inc(self._connection.skipped)

    async def _settle_down(self) -> None:
        """Wait for the answers to what was accepted, and for what the others had said by then."""
        if self._awaited:
            self._settled = trio.Event()
            await self._settled.wait()
        for room in list(self._rooms.values()):
            await room.settled()

    def look(self, now: float, every: float) -> None:
        """See whether the client is still there, where it is time to; `every` seconds this is called.

        One that is busy with a command is let be: it reads nothing, and was heard when the command came.
        """
        if not self._reading:
            return
        if self._who is None:
            self._look_for_hello(now)
        elif now + every > self._next_look:  # rather early than late
            if self._connection.heard_at < self._pinged_at:
                self.end(CloseCode.SILENT, "No answer to pings.")
            else:
                self._pinged_at = now
                self._next_look = now + self._config.limits.heartbeat_seconds
                self._connection.ping()

    def _look_for_hello(self, now: float) -> None:
        if self._who is None and now >= self._next_look:
            self.end(CloseCode.SILENT, "No hello in time.")

    async def _talk(self) -> None:
        if self._bearer is not None:
            await self._handle_safely(commands.Hello(token=self._bearer), greet=False)
        while True:
            self._reading = True
            frame = await self._connection.receive()
            self._reading = False
            if frame is None:
                return
            await self._read(frame)
            self._look_for_hello(trio.current_time())

    async def _read(self, frame: str | bytes) -> None:
        if self._who is not None and self._services.commands_limit.take(self.user_id):
            self.end(CloseCode.TOO_MUCH, "Far above the rate limit.")
            return
        try:
            command = codec.decode(frame)
        except codec.Undecodable as error:
            self._refuse_frame(error)
            return
        self._bad_frames = 0
        await self._handle_safely(command)

    def _refuse_frame(self, error: codec.Undecodable) -> None:
        self._refuse(error.ref, error)
        if error.code is ErrorCode.BAD_FRAME:
            self._bad_frames += 1
            if self._bad_frames >= BAD_FRAMES:
                self.end(CloseCode.BAD_CLIENT, f"{BAD_FRAMES} bad frames in a row.")
        else:
            self._bad_frames = 0

    # --- commands -------------------------------------------------------------------------------------------------

    async def _handle_safely(self, command: commands.AnyCommand, *, greet: bool = True) -> None:
        try:
            await self._handle(command, greet=greet)
        except CommandError as error:
            self._refuse(command.ref, error)
            if error.code is ErrorCode.INVALID_TOKEN:
                self.end(CloseCode.SIGN_IN_AGAIN, error.message)
        except Exception as error:  # the border around a command: its fault is its own
            logger.error("a %s failed: %s", type(command).__name__, folded(error))
            self._services.metrics.faults.labels("command").inc()
            internal = CommandError(ErrorCode.INTERNAL, "A fault in the server. Try again in a moment.")
            self._refuse(command.ref, internal)

    async def _handle(self, command: commands.AnyCommand, *, greet: bool) -> None:
        match command:
            case commands.Ping():
                self._say(events.Pong(ref=command.ref, server_time=self._now()))
                return
            case commands.Challenge():
                address = self._connection.address
                self._say(await self._services.operations.challenge(command, self._who, address))
                return
            case commands.Hello():
                await self._hello(command, greet=greet)
                return
            case _:
                pass
        if self._who is None:
            raise CommandError(ErrorCode.UNAUTHENTICATED, "Say hello first: sign in on this connection.")
        self._seen()
        match command:
            case commands.Join():
                await self._join(command)
            case commands.Leave(room_id=room_id):
                await self._ask(room_id, Quit(self, command.ref))
                self._forget(room_id)
            case commands.Send():
                await self._send(command)
            case commands.Unsend(room_id=room_id, message_id=message_id):
                await self._ask(room_id, Withdraw(self, command.ref, message_id))
            case commands.Typing(room_id=room_id):
                await self._ask(room_id, Write(self, command.ref))
            case commands.Members(room_id=room_id):
                await self._ask(room_id, AskMembers(self, command.ref))
            case commands.SignOut() | commands.ForgetMe():
                await self._depart(command)
            case _:
                reply = await self._services.operations.execute(command, self._signed_in)
                if isinstance(command, commands.UpdateProfile) and isinstance(reply, events.ProfileReply):
                    self.renamed(reply.display_name)  # what comes behind it must not wait for the notice
                self._say(reply)

    async def _hello(self, command: commands.Hello, *, greet: bool) -> None:
        operations, was = self._services.operations, self._who
        token: str | None = None
        if command.credential is not None:
            who, token, _ = await operations.sign_in(command.credential, was, self._connection.address)
        elif command.token is not None:
            who = await operations.recognise(command.token, from_memory=True)  # people come back to talk
        elif was is not None:
            who = was
        else:
            raise BadRequest("token", "hello needs a token or a credential.")
        if was is not None and was.user.user_id != who.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "This connection is somebody else's. Open another one.")
        self._who = who
        if was is None and not await self._services.hub.admit(self):
            self._who = None
            self.end(CloseCode.TOO_MUCH, "Too many connections of this user.")
            return
        deadline = trio.current_time() + (who.claims.exp * 1000 - self._services.store.now()) / 1000
        # An older token of the same user takes nothing from what a newer one gave.
        self._scope.deadline = deadline if was is None else max(self._scope.deadline, deadline)
        if was is None:
            self._next_look = trio.current_time() + self._config.limits.heartbeat_seconds
        if greet:
            self._say(operations.welcome(who, token=token, ref=command.ref))

    async def _depart(self, command: commands.SignOut | commands.ForgetMe) -> None:
        # The notice that this makes ends the connection as well: the answer has to go out first.
        with trio.CancelScope(deadline=trio.current_time() + DEPART_SECONDS, shield=True) as departing:
            reply = await self._services.operations.execute(command, self._signed_in)
            self._say(reply)
        if departing.cancelled_caught:
            raise StoreUnavailable
        self.end(CloseCode.SIGN_IN_AGAIN, "Signed out.")

    async def _join(self, command: commands.Join) -> None:
        room_id = command.room_id
        most = self._config.limits.rooms_per_connection
        if room_id not in self._rooms and len(self._rooms) >= most:
            message = f"A connection can be in {most} rooms. Leave one of them."
            raise CommandError(ErrorCode.TOO_MANY_ROOMS, message)
        while True:
            room = self._services.hub.running(room_id)
            if room is None:
                await self._services.operations.room(room_id)
                room = self._services.hub.start(room_id)
            join = Enter(self, command.ref, command.since)
            try:
                await self._put(room, join)
            except InboxClosed:
                continue  # it ended while it was full; another one takes its place
            self._rooms[room_id], self._joins[room_id] = room, join
            return

    async def _send(self, command: commands.Send) -> None:
        if command.room_id not in self._rooms:
            raise not_member()
        if not command.content.strip():
            raise CommandError(ErrorCode.CONTENT_EMPTY, "There is nothing in this message.")
        most = self._config.messages.content_bytes
        if len(command.content.encode()) > most:
            raise CommandError(ErrorCode.CONTENT_TOO_LONG, f"A message has at most {most} bytes of UTF-8.")
        wait = await self._services.messages_limit.take(self.user_id)
        if wait:
            raise RateLimited(TOO_FAST, wait)
        draft = Draft(
            message_id=command.message_id or new_id(),
            room_id=command.room_id,
            sender_id=self.user_id,
            sender_name=self.display_name,
            content=command.content,
        )
        draft = await self._services.plugins.filter_message(draft)
        await self._ask(command.room_id, Post(self, command.ref, draft))

    async def _ask(self, room_id: str, request: RoomRequest) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            raise not_member()
        try:
            await self._put(room, request)
        except InboxClosed:
            self._forget(room_id)
            raise not_member() from None

    async def _put(self, room: Room, request: RoomRequest) -> None:
        """Put a request into a room's inbox; the room answers it. Raises `InboxClosed`, and `rate_limited`."""
        if room.inbox.full:
            with trio.move_on_after(INBOX_SECONDS) as waiting:
                await room.inbox.put(request)
            if waiting.cancelled_caught:
                raise RateLimited(TOO_FAST, INBOX_SECONDS)
        else:
            room.inbox.put_over(request)
        self._awaited += 1

    # --- small things ---------------------------------------------------------------------------------------------

    @property
    def _signed_in(self) -> SignedIn:
        if self._who is None:
            raise AssertionError("nobody has signed in on this connection")
        return self._who

    def _forget(self, room_id: str) -> None:
        self._rooms.pop(room_id, None)
        self._joins.pop(room_id, None)

    def _refuse(self, ref: commands.Ref | None, error: CommandError) -> None:
        self._services.metrics.refused.labels(error.code.value).inc()
        self.write(Frame([Outgoing(msgspec.structs.replace(codec.error_reply(error), ref=ref))]))

    def _now(self) -> Timestamp:
        return timestamp(self._services.store.now())

    def _say(self, reply: events.Reply) -> None:
        self.write(Frame([Outgoing(reply)]))

    def _settle(self, requests: int) -> None:
        self._awaited -= requests
        if self._settled is not None and not self._awaited:
            self._settled.set()

    def _seen(self, *, at_once: bool = False) -> None:
        now = trio.current_time()
        if at_once or now - self._seen_at >= SEEN_SECONDS:
            self._seen_at = now
            self._services.records.record(UserSeen(user_id=self.user_id, last_active=self._now()))


def _goodbye(code: CloseCode, reason: str) -> events.Goodbye:
    # Jitter, so that those whom the server sends away do not all come back in one instant.
    after = round(random.uniform(0.5, 3.0), 3) if code.reconnect else UNSET
    return events.Goodbye(code=code.value, reason=reason, reconnect=code.reconnect, reconnect_after=after)


def _put_over(room: Room, request: RoomRequest) -> None:
    try:
        room.inbox.put_over(request)
    except InboxClosed:
        return  # the room has ended, and with it all membership
