"""The client library for programs on asyncio: the same names, events and errors.

Trio runs as a guest in the running event loop, in the same thread; see `trio.lowlevel.start_guest_run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import outcome
import trio

from evanesce.client import client as on_trio
from evanesce.client.client import CONNECT_SECONDS
from evanesce.client.errors import Disconnected, Refused
from evanesce.client.events import Members, RoomEvent, RoomInfo, RoomOptions, Sent, State
from evanesce.client.membership import MembershipState
from evanesce.client.room import Room as TrioRoom
from evanesce.room_encryption import RoomKey

__all__ = ["Client", "Room", "open_client"]

T = TypeVar("T")


class _Guest:
    """Trio in the running event loop, with a client that is open as long as it runs."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._opened: asyncio.Future[on_trio.Client] = self._loop.create_future()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def open(self) -> on_trio.Client:
        """Start, and return the client when it is signed in."""
        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=self._loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=self._loop.call_soon,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
        )
        either: list[asyncio.Future[Any]] = [self._opened, self._ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            await self._ended
        return await self._opened

    async def close(self) -> None:
        """Close the client, and wait until Trio has ended, whatever is cancelled."""
        if self._token is not None and not self._ended.done():
            self._token.run_sync_soon(self._scope.cancel)
        while not self._ended.done():
            try:
                await asyncio.wait([self._ended])
            except asyncio.CancelledError:
                await asyncio.wait([self._ended])
                raise
        await self._ended

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with (
                on_trio.open_client(self._url, **self._options) as client,
                trio.open_nursery() as self._nursery,
            ):
                self._opened.set_result(client)
                await trio.sleep_forever()

    def _done(self, result: outcome.Outcome[None]) -> None:
        match result:
            case outcome.Error(error):
                self._ended.set_exception(error)
            case _:
                self._ended.set_result(None)

    def begin(self, function: Callable[[], Awaitable[T]]) -> tuple[asyncio.Future[T], Callable[[], None]]:
        """Start an async function of Trio; return the future of its result, and what cancels it."""
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()

        async def call() -> None:
            try:
                with scope:
                    result = await function()
                    if not future.done():
                        future.set_result(result)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            finally:
                if not future.done():
                    future.set_exception(Disconnected("the client was closed"))

        def start(nursery: trio.Nursery) -> None:
            try:
                nursery.start_soon(call)
            except RuntimeError:  # it has ended, and Trio not yet: the client closes its connection
                if not future.done():
                    future.set_exception(Disconnected("the client was closed"))

        if self._token is None or self._nursery is None or self._ended.done():
            raise Disconnected("the client was closed")
        self._token.run_sync_soon(start, self._nursery)
        return future, lambda: self._cancel(scope)

    def _cancel(self, scope: trio.CancelScope) -> None:
        if self._token is not None and not self._ended.done():
            self._token.run_sync_soon(scope.cancel)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call an async function of Trio. A cancellation reaches it."""
        future, cancel = self.begin(function)
        try:
            return await future
        except asyncio.CancelledError:
            cancel()
            raise


class Room:
    """A room; see `evanesce.client.Room`. To cancel the reading of an event loses none."""

    def __init__(self, guest: _Guest, room: TrioRoom) -> None:
        self._guest = guest
        self._room = room
        self._next: asyncio.Future[RoomEvent | None] | None = None

    @property
    def room_id(self) -> str:
        """The id of the room."""
        return self._room.room_id

    @property
    def state(self) -> MembershipState:
        """Return `joining`, `joined` or `left`."""
        return self._room.state

    @property
    def options(self) -> RoomOptions:
        """The rules of the room, as the server told them last."""
        return self._room.options

    @property
    def refused(self) -> Refused | None:
        """With which error the server refused to let the client in, if it did."""
        return self._room.refused

    def __aiter__(self) -> Room:
        return self

    async def __anext__(self) -> RoomEvent:
        """Wait for the next event, without a deadline: `asyncio.timeout` sets one, and no event is lost by it.

        Raises `Stopped` while the client does not connect any more.
        """
        if self._next is None:
            self._next, _ = self._guest.begin(self._read)
        await asyncio.wait([self._next])
        done, self._next = self._next, None
        event = done.result()
        if event is None:
            raise StopAsyncIteration
        return event

    async def _read(self) -> RoomEvent | None:
        return await anext(self._room, None)

    async def send(
        self,
        content: str,
        *,
        ttl: float | None = None,
        reply_to: str | None = None,
        message_id: str | None = None,
    ) -> Sent:
        """Send a message; see `evanesce.client.Room.send`."""
        return await self._guest.call(
            lambda: self._room.send(content, ttl=ttl, reply_to=reply_to, message_id=message_id)
        )

    async def unsend(self, message_id: str) -> None:
        """Take back an own message. Raises `Refused` and `Disconnected`."""
        await self._guest.call(lambda: self._room.unsend(message_id))

    async def typing(self) -> None:
        """Tell the others that this user is typing; nothing, where there is no connection."""
        await self._guest.call(self._room.typing)

    async def members(self) -> Members:
        """Return who is in the room. Raises `Refused` and `Disconnected`."""
        return await self._guest.call(self._room.members)

    async def request(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command about this room once, and return its reply; see `evanesce.client.Room.request`."""
        return await self._guest.call(lambda: self._room.request(command))

    async def leave(self) -> None:
        """Leave the room. The last event says so."""
        await self._guest.call(self._room.leave)


class Client:
    """A client of one server; see `evanesce.client.Client`."""

    def __init__(self, guest: _Guest, client: on_trio.Client) -> None:
        self._guest = guest
        self._client = client

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._client.state

    @property
    def user_id(self) -> str:
        """The id of the account."""
        return self._client.user_id

    @property
    def display_name(self) -> str:
        """The name of the account, as the server told it last."""
        return self._client.display_name

    @property
    def token(self) -> str | None:
        """The present token, with which another client can sign in to this account."""
        return self._client.token

    @property
    def message_ttl(self) -> float:
        """For how many seconds messages live on this server, where a room has no other rule."""
        return self._client.message_ttl

    @property
    def limits(self) -> dict[str, Any]:
        """The limits of the server: `limits` of `welcome`."""
        return self._client.limits

    def server_now(self) -> float:
        """Return the server's time, in seconds since 1970."""
        return self._client.server_now()

    async def online(self) -> None:
        """Wait until the client is signed in. Raises `Stopped` where it does not connect any more."""
        await self._guest.call(self._client.online)

    async def join(self, room: str, *, invite: str | None = None, key: RoomKey | None = None) -> Room:
        """Join a room, by its link or its id; see `evanesce.client.Client.join`."""
        return Room(self._guest, await self._guest.call(lambda: self._client.join(room, invite=invite, key=key)))

    async def create_room(
        self, *, message_ttl: float | None = None, access: str | None = None, encrypted: bool = False
    ) -> RoomInfo:
        """Create a room, and return its data; see `evanesce.client.Client.create_room`."""
        return await self._guest.call(
            lambda: self._client.create_room(message_ttl=message_ttl, access=access, encrypted=encrypted)
        )

    async def request(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command of the protocol once, and return its reply; see `evanesce.client.Client.request`."""
        return await self._guest.call(lambda: self._client.request(command))


@asynccontextmanager
async def open_client(
    url: str,
    *,
    token: str | None = None,
    credential: dict[str, Any] | None = None,
    on_state: Callable[[State], object] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
) -> AsyncGenerator[Client]:
    """Connect to a server, sign in, and yield a client that stays connected to the end of the block.

    Raises as `evanesce.client.open_client` does. One client may be open in a thread at a time.
    """
    options = {"token": token, "credential": credential, "on_state": on_state, "connect_seconds": connect_seconds}
    guest = _Guest(url, options)
    try:
        yield Client(guest, await guest.open())
    finally:
        await guest.close()
