"""The listener of a transport: accepts clients, does the TLS handshake, and contains their errors."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import logging
import socket as stdlib_socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from evanesce.addresses import NO_PROXIES, TrustedProxies
from evanesce.addresslimits import AddressLimits
from evanesce.errors import ConfigurationError, RateLimited
from evanesce.hints import Hints
from evanesce.inherited import inherited_sockets
from evanesce.interfaces import Gateway, Setup
from evanesce.listening.opening import BACKLOG, accept_waiting, cannot_listen, open_listeners, reset
from evanesce.listening.poller import Poller, open_poller
from evanesce.listening.proxy_header import receive_proxy_header
from evanesce.listening.settings import Bind, ListenSettings, UnixBind, load_tls, parse_bind
from evanesce.listening.stream import ClientStream, peer_of
from evanesce.listening.work import DescriptorShortage, WorkSlots
from evanesce.logs import bind_connection
from evanesce.process import client_descriptors, descriptor_limit, lowest_free_descriptor
from evanesce.webaddress import join_host_port

log = logging.getLogger(__name__)

TLS_SECONDS = 5.0
"""How long a TLS handshake may take."""

HEAD_SECONDS = 5.0
"""How long after its connection a client may take to send its first request; TLS adds `TLS_SECONDS`."""

RESPONSE_SECONDS = 10.0
"""How long a client may take to receive the last response."""

_ACCEPTED_AT_ONCE = 16  # clients in one turn of the scheduler: their handshakes take 0.1 ms each
_BUSY_SECONDS = 0.1
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


ServeClient = Callable[[ClientStream], Awaitable[bytes]]
"""Serves one client to its end, and returns the last bytes to send to it."""

FindRoom = Callable[[trio.socket.SocketType], Awaitable[str | None]]
"""Waits for the first bytes of a client, without consuming them, and returns the room that they name; None: none."""


class StartClient(Protocol):
    """Starts to serve a client that was accepted, or closes its connection: see `Listener._start_client`."""

    def __call__(self, stream: trio.SocketStream, passed_at: float | None = None) -> None:
        """Start."""
        ...


class Listener:
    """The listening sockets of one transport. Raises `ConfigurationError` for wrong settings.

    It counts every client by its address (`Gateway.address_limits`), and resets the connection of one that is over a
    limit. While descriptors are short, it accepts nobody. On a port that workers share, it stops accepting when the
    server stops.

    - Clients of `proxies` are not counted by the address of the socket: the transport finds out the address of the
      client behind the proxy, and counts it itself (`ClientStream.held`).
    - `proxy_protocol`: every connection begins with a header of the PROXY protocol, and is from one of `proxies`. The
      client in it counts as the other end of the socket (`ClientStream.peer`). Other connections are reset.
    - `answers_refused`: the transport is passed some of the refused clients too, with a `ClientStream.refusal`, and
      sends them the reason.
    - `protocols` are the names for ALPN in TLS.
    - `find_room` lets a worker pass a client to the worker of its room, where there is neither TLS nor a PROXY header.
    """

    slots: WorkSlots
    """Limits the work that the transport does for new clients."""

    background: Background
    """Runs the tasks of outboxes; there while it listens."""

    def __init__(
        self,
        setup: Setup,
        settings: ListenSettings,
        *,
        proxies: TrustedProxies = NO_PROXIES,
        proxy_protocol: bool = False,
        answers_refused: bool = False,
        protocols: Sequence[str] = (),
        find_room: FindRoom | None = None,
    ) -> None:
        path = f"plugins.{setup.name}"
        self._path = path
        self._settings = settings
        self._bind = parse_bind(settings.bind, f"{path}.bind")
        self._proxies = proxies
        self._proxy_protocol = proxy_protocol
        self._hints = Hints(log, trio.current_time)
        self._answers_refused = answers_refused
        self._find_room = find_room
        self._tls = load_tls(settings, setup.folder, path, protocols)
        self._shared = setup.shared_port
        self._name = setup.name
        self._handover = setup.handover
        self.slots = WorkSlots()
        self._shortage = DescriptorShortage()
        self._most_descriptors = client_descriptors(descriptor_limit())
        self._folder = setup.folder
        self._inherited = setup.sockets.get(settings.bind)
        self._poller: Poller | None = None
        if self._shared and isinstance(self._bind, Bind) and self._bind.port == 0:
            problem = "with more than one worker, the system cannot choose the port: each worker would get another one"
            raise ConfigurationError(f"{path}.bind", problem, "Name a port, or set server.workers to 1.")

    @property
    def binds(self) -> Sequence[str]:
        """The addresses to listen on."""
        return [self._settings.bind]

    def deadline(self, client_stream: ClientStream) -> float:
        """Return when a client must have sent its first request, in seconds of Trio's clock."""
        return client_stream.connected_at + HEAD_SECONDS + (0.0 if self._tls is None else TLS_SECONDS)

    async def run(
        self, gateway: Gateway, scheme: str, serve: ServeClient, task_status: trio.TaskStatus[Sequence[str]]
    ) -> None:
        """Listen, and `serve` every client, until cancelled. Reports URLs with `scheme`, plus an `s` for TLS.

        On a port that other processes share, and on a socket of the service manager, it stops listening when the
        gateway is draining. Raises `ConfigurationError` where it cannot listen.
        """
        with contextlib.ExitStack() as stack:
            try:
                listeners = await open_listeners(
                    stack, self._bind, self._folder, shared=self._shared, inherited=self._inherited
                )
                self._poller = stack.enter_context(open_poller())
            except OSError as error:
                raise cannot_listen(f"{self._path}.bind", self._settings.bind, error) from None
            async with trio.open_nursery() as background:
                if self._poller is not None:
                    background.start_soon(self._poller.run)
                background.start_soon(self._shortage.report)
                background.start_soon(self.slots.watch)
                async with trio.open_nursery() as clients:
                    self.background = Background(clients)
                    start_client = functools.partial(self._start_client, gateway.address_limits, serve, clients)
                    for listener in listeners:
                        clients.start_soon(self._accept, listener, start_client)
                    if self._shared or any(map(_is_inherited, listeners)):
                        clients.start_soon(self._close_when_draining, gateway, listeners, start_client)
                    task_status.started([self._url(scheme, listener.socket) for listener in listeners])
                background.cancel_scope.cancel()

    def _url(self, scheme: str, socket: trio.socket.SocketType) -> str:
        if isinstance(self._bind, UnixBind):
            return self._settings.bind
        host, port = socket.getsockname()[:2]
        address = join_host_port(host, port)
        return f"{scheme}://{address}" if self._tls is None else f"{scheme}s://{address}"

    async def _accept(self, listener: trio.SocketListener, start_client: StartClient) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:  # by `_close_when_draining`
                return
            except OSError as error:
                if error.errno not in _BUSY:
                    raise
                await self._shortage.wait(_BUSY_SECONDS)
                continue
            descriptor = stream.socket.fileno()
            # Deadlines count from `accept`, so clients that wait at the same time are accepted together.
            with contextlib.closing(accept_waiting(listener, _ACCEPTED_AT_ONCE)) as others:
                for client in itertools.chain([stream], others):
                    descriptor = client.socket.fileno()
                    start_client(client)
                    if descriptor >= self._most_descriptors:
                        break
            if descriptor >= self._most_descriptors:
                await self._wait_for_descriptors(listener)

    async def _wait_for_descriptors(self, listener: trio.SocketListener) -> None:
        """Wait until the reserved descriptors are free: the server needs them for Valkey and the database."""
        free: int | None = None
        while free is None or free >= self._most_descriptors:
            await self._shortage.wait(_BUSY_SECONDS)
            if (listening := listener.socket.fileno()) < 0:  # closed by `_close_when_draining`
                return
            free = lowest_free_descriptor(listening)

    def _start_client(
        self,
        limits: AddressLimits,
        serve: ServeClient,
        clients: trio.Nursery,
        stream: trio.SocketStream,
        passed_at: float | None = None,
    ) -> None:
        """Start to serve a client that was accepted, or close its connection where its address is over a limit.

        `passed_at` is when another worker accepted a client that it passed on to this one.
        """
        try:
            peer = peer_of(stream.socket)
        except OSError:  # the client left
            stream.socket.close()
            return
        connected_at = trio.current_time() if passed_at is None else passed_at
        client_stream = ClientStream(stream, stream.socket, peer, connected_at, poller=self._poller)
        if not self._proxies.hold(peer):
            if self._proxy_protocol:
                self._hints.give(peer, f"a connection from %s is refused: {self._path}.trusted_proxies lacks it")
                reset(stream.socket)
                return
            if not self._count(limits, client_stream):
                return
        if self._handover is not None:
            self._handover.count(1)
        clients.start_soon(self._serve_contained, limits, client_stream, serve, passed_at is None)

    def _count(self, limits: AddressLimits, client_stream: ClientStream) -> bool:
        """Count a client, and return True; False where its connection was reset, because its address is over a limit.

        A limited number of refused clients are left to a transport that answers them.
        """
        try:
            limits.count_handshake(client_stream.peer)
            client_stream.held = limits.hold_connection(client_stream.peer)
        except RateLimited as error:
            if not (self._answers_refused and limits.may_tell()):
                reset(client_stream.socket)
                return False
            client_stream.refusal = error
        return True

    async def _close_when_draining(
        self, gateway: Gateway, listeners: Sequence[trio.SocketListener], start_client: StartClient
    ) -> None:
        """Stop listening when the gateway is draining, so that other processes get the new clients.

        Until then, it takes over clients that other workers pass on.
        """

        def take(descriptor: int, age: float) -> None:
            passed = stdlib_socket.socket(fileno=descriptor)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(passed))
            start_client(stream, trio.current_time() - age)

        with contextlib.nullcontext() if self._handover is None else self._handover.receiving(self._name, take):
            await gateway.wait_draining()
        for listener in listeners:
            # At a socket that other processes have too, clients wait for these: other workers, or the next process.
            if isinstance(self._bind, Bind) and not _is_inherited(listener):
                for stream in accept_waiting(listener, BACKLOG):
                    start_client(stream)
            listener.socket.close()

    async def _serve_contained(
        self, limits: AddressLimits, client_stream: ClientStream, serve: ServeClient, may_pass: bool
    ) -> None:
        """Serve one client, or pass it to another worker where it `may_pass`, and contain its errors."""
        bind_connection()
        try:
            if self._proxy_protocol and not await self._find_peer(limits, client_stream):
                return
            if may_pass and await self._pass_on(client_stream):
                return
            if (self._tls is None or await self._secure(client_stream, self._tls)) and (
                response := await serve(client_stream)
            ):
                with trio.move_on_after(RESPONSE_SECONDS):
                    await client_stream.stream.send_all(response)
                    await client_stream.linger()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            log.debug("a client left before it received its response")
        except* Exception:  # an error of one client must not affect others
            log.exception("serving a client failed")
        finally:
            client_stream.before_close()
            client_stream.socket.close()
            if client_stream.held is not None:
                client_stream.held.release()
            if self._handover is not None:
                self._handover.count(-1)

    async def _find_peer(self, limits: AddressLimits, client_stream: ClientStream) -> bool:
        """Read the header of the PROXY protocol, and count the client in it; return False where it is refused."""
        proxy, problem = client_stream.peer, "a PROXY header that is late"
        with trio.move_on_at(client_stream.connected_at + HEAD_SECONDS):
            try:
                named = await receive_proxy_header(client_stream.socket)
            except ValueError as error:
                problem = str(error)
            else:
                client_stream.peer = proxy if named is None else named
                return self._proxies.hold(client_stream.peer) or self._count(limits, client_stream)
        self._hints.give(proxy, f"a connection from %s is refused: {problem}. {self._path}.proxy_protocol requires one")
        reset(client_stream.socket)
        return False

    async def _pass_on(self, client_stream: ClientStream) -> bool:
        """Pass a client that names a room to the worker of the room, and return whether that was done."""
        if self._handover is None or self._find_room is None or client_stream.refusal:
            return False
        if self._tls is not None or self._proxy_protocol:  # the other worker could not read its beginning
            return False
        room_id: str | None = None
        with trio.move_on_at(self.deadline(client_stream)):
            room_id = await self._find_room(client_stream.socket)
        if room_id is None:
            return False
        age = trio.current_time() - client_stream.connected_at
        return self._handover.pass_on(self._name, room_id, client_stream.socket.fileno(), age)

    async def _secure(self, client_stream: ClientStream, tls: ssl.SSLContext) -> bool:
        """Do the TLS handshake, and return True; False where the client takes too long."""
        secure = trio.SSLStream(client_stream.stream, tls, server_side=True, https_compatible=True)
        with trio.move_on_after(TLS_SECONDS):
            await secure.do_handshake()
            client_stream.stream = secure
            return True
        return False


class Background:
    """Starts tasks for connections in one nursery for all: one for each would be a tenth of what a connection costs.

    An error of such a task is logged, and harms no other client.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start a task, which has to end with its connection."""
        self._nursery.start_soon(self._run, work)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("a task of a connection failed")


def _is_inherited(listener: trio.SocketListener) -> bool:
    return inherited_sockets().holds(listener.socket.fileno())
