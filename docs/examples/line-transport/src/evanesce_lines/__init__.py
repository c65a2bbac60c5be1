"""The plugin `lines`: a transport over TCP or TLS, with one JSON document a line."""

from collections.abc import Sequence
from functools import partial

import trio
from evanesce.delivery.frame import Framing
from evanesce.delivery.outbox import Outbox
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Gateway, Settings, Setup, Transport
from evanesce.listening import ClientStream, Listener, ListenSettings, StreamConnection, serve_connection

evanesce_api = "1.0"
evanesce_sees_content = True


class LineSettings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.lines]`: `bind`, `certfile` and `keyfile`."""

    bind: str = "127.0.0.1:7000"


class LineFraming:
    """Adds the end of the line. JSON as Evanesce writes it has no line breaks of its own."""

    def frame(self, payload: bytes) -> bytes:
        """Return the bytes of one frame."""
        return payload + b"\n"


FRAMING = LineFraming()  # one object, so that a message is framed once for all clients


class LineConnection(StreamConnection):
    """The connection of one client. A line longer than `most` bytes ends it."""

    def __init__(self, client_stream: ClientStream, outbox: Outbox, most: int) -> None:
        super().__init__(client_stream, outbox)
        self._most = most
        self._received = bytearray()

    @property
    def framing(self) -> Framing:
        """The framing of all connections."""
        return FRAMING

    @property
    def heard_at(self) -> float:
        """The present time: without pings, only the end of the connection shows that a client is gone."""
        return trio.current_time()

    async def receive(self) -> str | bytes | None:
        """Wait for the next line; None where the client has left, or the line is too long."""
        await trio.lowlevel.checkpoint()
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > self._most or self.closing:
                return None
            data = await self.client_stream.receive(16_384)
            if not data:
                return None
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        if end > self._most:
            return None
        try:
            return line.decode()
        except UnicodeDecodeError:
            return line  # the server answers `bad_frame`


class LineTransport:
    """The transport. The listener accepts clients, counts them by their address, and does the TLS handshake."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._listener = Listener(setup, setup.settings)

    @property
    def binds(self) -> Sequence[str]:
        """The addresses to listen on."""
        return self._listener.binds

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled."""
        await self._listener.run(gateway, "lines", partial(self._serve_client, gateway), task_status)

    async def _serve_client(self, gateway: Gateway, client_stream: ClientStream) -> bytes:
        async with trio.open_nursery() as nursery:
            limit = self._setup.outbox_bytes
            outbox = Outbox(nursery, client_stream.socket, FRAMING, limit=limit, stream=client_stream.tls)
            await serve_connection(gateway, LineConnection(client_stream, outbox, self._setup.frame_bytes))
            nursery.cancel_scope.cancel()
        return b""


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of the settings."""
    return LineSettings


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    """Return the transport."""
    return LineTransport(setup)
