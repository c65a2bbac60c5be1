"""A client of one server: it stays connected, and in its rooms, until it is closed."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from evanesce.client.account import Account, SignIn
from evanesce.client.backoff import Backoff
from evanesce.client.clock import ServerClock
from evanesce.client.connection import ANSWER_SECONDS, Connection, Fields
from evanesce.client.errors import Disconnected, Stopped, Unreachable
from evanesce.client.events import RoomInfo, State, reply_as
from evanesce.client.links import BadLink, DeepLink, ServerLink, is_of_a_room, is_room_id, with_key
from evanesce.client.room import Room
from evanesce.client.session import End, Session
from evanesce.client.signal import Signal
from evanesce.client.streams import OpenStream, open_stream
from evanesce.errors import CloseCode
from evanesce.room_encryption import RoomKey

CONNECT_SECONDS = 30.0
"""How long `open_client` waits for the first sign-in, in seconds."""


class Client:
    """A client of the server at `url`, `http(s)://HOST[:PORT]` with an optional path, or the link of a room there.

    It signs in with `token`, or `credential` (`{"provider": …}`), or with what `sign_in` returns; each is used again
    when the server asks for a new sign-in, if that is possible. `on_state` is called, without delay, with each state
    of the connection. `open_stream`, `clock` and `dice` are for tests.

    `open_client` is the usual way to have one. Without it, `run` has to run in a task of the application.
    """

    def __init__(
        self,
        url: str | ServerLink | DeepLink,
        *,
        token: str | None = None,
        credential: dict[str, Any] | None = None,
        sign_in: SignIn | None = None,
        on_state: Callable[[State], object] | None = None,
        open_stream: OpenStream = open_stream,
        clock: ServerClock | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._address, self._first_room = _parse(url)
        self._account = Account(token, credential, sign_in)
        self._on_state = on_state
        self._clock = clock or ServerClock()
        self._dice = dice or random.SystemRandom()
        self._backoff = Backoff(self._dice)
        self._session = Session(self._account, self._clock, self._take, open_stream, self._welcome, self._check_times)
        self._rooms: dict[str, Room] = {}
        self._connection: Connection | None = None
        self._welcomed: Fields = {}
        self._changed = Signal()
        self._nursery: trio.Nursery | None = None
        self.state = State(state="offline")

    @property
    def user_id(self) -> str:
        """The id of the account; empty before the first sign-in."""
        return self._account.user_id

    @property
    def display_name(self) -> str:
        """The name of the account, as the server told it last; empty before the first sign-in."""
        return str(self._welcomed.get("displayName", ""))

    @property
    def token(self) -> str | None:
        """The present token, with which another client can sign in to this account. It is renewed by itself."""
        return self._account.token

    @property
    def message_ttl(self) -> float:
        """For how many seconds messages live on this server, where a room has no other rule."""
        return float(self._welcomed.get("messageTtl", 60.0))

    @property
    def limits(self) -> dict[str, Any]:
        """The limits of the server: `limits` of `welcome`."""
        return dict(self._welcomed.get("limits", {}))

    def server_now(self) -> float:
        """Return the server's time, in seconds since 1970. It means nothing before the first sign-in."""
        return self._clock.now()

    # For the application

    async def join(self, room: str, *, invite: str | None = None, key: RoomKey | None = None) -> Room:
        """Join a room, by its link or its id, and return it when the client is in it.

        A link has the invite and the key in its fragment. Raises `Refused`, `Stopped`, and `BadLink` for a text that
        is no link or of another server.

        It waits while there is no connection, and while the server cannot let the client in for now, without a
        deadline: use `trio.move_on_after` to wait for less. The client goes on to join then; `enter` returns the room,
        and `Room.leave` ends it.
        """
        joining = self.enter(room, invite=invite, key=key)
        await joining.joined()
        return joining

    def enter(self, room: str, *, invite: str | None = None, key: RoomKey | None = None) -> Room:
        """Begin to join a room, and return it at once; see `join`. Whether the server lets the client in is an event.

        A room that was entered before, and not left, is the same.
        """
        if "/" in room:
            link = DeepLink.parse(room)
            if link.url != self._address.url:
                raise BadLink("this link is of another server")
            room, invite, key = link.room_id, invite or link.invite, key or link.key
        elif not is_room_id(room):
            raise BadLink("this is not the id of a room")
        room = room.lower()
        entered = self._rooms.get(room)
        if entered is None:
            entered = self._rooms[room] = Room(
                room, invite, key, self._account, self._clock, self._dice, self._forget, self._join
            )
            if self.state.state == "stopped":
                entered.stop(self._stopped())
            self._join(entered)
        return entered

    async def create_room(
        self, *, message_ttl: float | None = None, access: str | None = None, encrypted: bool = False
    ) -> RoomInfo:
        """Create a room, and return its data; its `deep_link` is for `join` and for other people.

        `message_ttl` is in seconds, `access` is `link` or `invite`. With `encrypted` its key is made here, and is in
        the link. Raises `Refused` and `Disconnected`.
        """
        key = RoomKey.generate() if encrypted else None
        options: Fields = {"messageTtl": message_ttl, "access": access, "encrypted": encrypted or None}
        command = {"type": "create_room"} | {name: value for name, value in options.items() if value is not None}
        room = reply_as(RoomInfo, await self.request(command))
        return msgspec.structs.replace(room, deep_link=with_key(room.deep_link, key))

    async def request(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command of the protocol, such as `{"type": "profile"}`, and return its reply.

        It is sent once. Raises `Refused`, `Disconnected` where there is no answer in 15 s, and `Stopped`.
        """
        with trio.move_on_after(ANSWER_SECONDS):
            await self.online()
        if self._connection is None:
            raise Disconnected("there was no connection in time")
        return await self._connection.request(command)

    async def online(self) -> None:
        """Wait until the client is signed in. Raises `Stopped` where it does not connect any more."""
        while self.state.state != "online":
            if self.state.state == "stopped":
                raise self._stopped()
            await self._changed.wait()

    def sign_in_anew(self, *, token: str | None = None, credential: dict[str, Any] | None = None) -> None:
        """Connect again after `stopped`, with another sign-in. The rooms are joined again."""
        self._account.replace(token, credential)
        for room in self._rooms.values():
            room.stop(None)
        self._set_state(State(state="connecting"))

    # The connection

    async def run(self) -> None:
        """Stay connected until this is cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                while True:
                    await self._connect()
        finally:
            if self.state.state != "stopped":
                self._stop(CloseCode.NORMAL, "the client was closed")

    async def _connect(self) -> None:
        if self.state.state != "connecting":
            self._set_state(State(state="connecting"))
        hinted = next(iter(self._rooms), self._first_room) if self._backoff.opening() else None
        url = self._address.url if hinted is None else f"{self._address.url}?roomId={hinted}"
        try:
            end = await self._session.run(url)
        finally:
            self._connection = None
            for room in self._rooms.values():
                room.lose()
        pause = self._backoff.pause(end.online_seconds, end.close.reconnect_after)
        if self._may_return(end):
            self._set_state(State(state="offline", code=end.code, reason=end.close.reason, retry_in=pause))
            await trio.sleep(pause)
            return
        self._stop(end.code or end.close.code, end.close.reason)
        while self.state.state == "stopped":
            await self._changed.wait()

    def _may_return(self, end: End) -> bool:
        return self._account.refused() if end.close.code == CloseCode.SIGN_IN_AGAIN else end.close.reconnect

    def _stop(self, code: int | str, reason: str) -> None:
        self._set_state(State(state="stopped", code=code, reason=reason))
        for room in self._rooms.values():
            room.stop(self._stopped())

    def _stopped(self) -> Stopped:
        return Stopped(self.state.code or CloseCode.NORMAL, self.state.reason)

    def _set_state(self, state: State) -> None:
        self.state = state
        self._changed.set()
        if self._on_state is not None:
            self._on_state(state)

    def _welcome(self, connection: Connection, welcome: Fields) -> None:
        self._connection = connection
        self._welcomed = welcome
        self._backoff.welcomed()
        self._set_state(State(state="online"))
        for room in self._rooms.values():
            self._join(room)

    def _check_times(self) -> None:
        for room in self._rooms.values():
            room.check_time()

    # Rooms

    def _join(self, room: Room) -> None:
        if self._connection is not None and self._nursery is not None:
            self._nursery.start_soon(room.join, self._connection)

    def _forget(self, room: Room) -> None:
        self._rooms.pop(room.room_id, None)

    async def _take(self, frame: list[Fields]) -> None:
        by_room: dict[str, list[Fields]] = {}
        for event in frame:
            room_id = event.get("roomId")
            if isinstance(room_id, str) and room_id in self._rooms:
                by_room.setdefault(room_id, []).append(event)
        rooms = [(self._rooms[room_id], events) for room_id, events in by_room.items()]
        for room, events in rooms:
            room.take(events)
            await trio.lowlevel.checkpoint()  # so that the readers of the rooms go on in the order of the frame
        for room, _ in rooms:
            await room.has_space()


def _parse(url: str | ServerLink | DeepLink) -> tuple[ServerLink, str | None]:
    """Return the server of an address or of the link of a room, and the room's id. Raises `BadLink`."""
    if isinstance(url, str):
        url = DeepLink.parse(url) if is_of_a_room(url) else ServerLink.parse(url)
    if isinstance(url, ServerLink):
        return url, None
    return ServerLink(url.url, url.host), url.room_id


@asynccontextmanager
async def open_client(
    url: str,
    *,
    token: str | None = None,
    credential: dict[str, Any] | None = None,
    sign_in: SignIn | None = None,
    on_state: Callable[[State], object] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
) -> AsyncGenerator[Client]:
    """Connect to a server, sign in, and yield a client that stays connected to the end of the block; see `Client`.

    Raises `Stopped` if the server does not accept the sign-in, `Unreachable` if there is none in `connect_seconds`,
    and `BadLink`.
    """
    client = Client(url, token=token, credential=credential, sign_in=sign_in, on_state=on_state)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        try:
            with trio.move_on_after(connect_seconds):
                await client.online()
            if client.state.state != "online":
                raise Unreachable(client.state.reason or "no answer")
            yield client
        except Exception as error:  # raised below, so that it is not in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
