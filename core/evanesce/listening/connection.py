"""The connection of a client over a stream: what all such transports have in common."""

from __future__ import annotations

import abc
import logging

import trio

from evanesce.delivery.frame import Frame, Framing
from evanesce.delivery.outbox import Outbox
from evanesce.errors import CloseCode
from evanesce.interfaces import Gateway
from evanesce.listening.stream import Client, ClientStream

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
"""How long it may take to close a connection, including the data that waits to be sent."""


class StreamConnection(abc.ABC):
    """One client over a stream: an `evanesce.interfaces.Connection`. It writes by an outbox.

    A subclass reads from `client_stream` and has a framing. The creator passes it to `serve_connection`, or calls
    `release` in the end. `client` is the client behind a proxy; None: the other end of the socket.

    `outbox` takes all data that goes out. `closing` is whether the last data was queued: what the client sends is
    ignored from then on. `ended` is whether the client will send nothing more.
    """

    __slots__ = ("_client", "client_stream", "closing", "ended", "outbox")

    def __init__(self, client_stream: ClientStream, outbox: Outbox, *, client: Client | None = None) -> None:
        self._client = client_stream.client if client is None else client
        self.client_stream = client_stream
        self.outbox = outbox
        self.closing = False
        self.ended = False

    @property
    def address(self) -> str:
        """The address of the client."""
        return self._client.address

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        return self._client.local

    @property
    def connected_at(self) -> float:
        """When the client connected, in seconds of Trio's clock."""
        return self.client_stream.connected_at

    @property
    @abc.abstractmethod
    def framing(self) -> Framing:
        """The framing: one object for all connections, so that a message is framed once for all of them."""

    @property
    @abc.abstractmethod
    def heard_at(self) -> float:
        """When the client last sent any bytes, in seconds of Trio's clock."""

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be sent."""
        return self.outbox.waiting_bytes

    @property
    def unacknowledged_bytes(self) -> int:
        """How many bytes the kernel has taken that the client has not acknowledged."""
        return self.outbox.unacknowledged_bytes

    @property
    def skipped(self) -> int:
        """How many messages expired before they could be sent."""
        return self.outbox.skipped

    @abc.abstractmethod
    async def receive(self) -> str | bytes | None:
        """Wait for the next frame; None when the client has left, or its data is invalid or too large."""

    def write(self, frame: Frame) -> bool:
        """Send `frame`, and return True; False where the outbox is full."""
        return self.outbox.write(frame)

    def ping(self) -> None:
        """Send a ping, where the transport has pings; here nothing."""
        return

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Send what waits and `goodbye`, and close the socket after 2 s at most.

        `goodbye` is sent even where the outbox is full. The method cannot be cancelled, therefore its time is limited.
        It may be called again, also by other tasks.
        """
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            if not self.closing:
                self.closing = True
                self.outbox.finish(b"" if goodbye is None else goodbye.wire(self.framing))
            await self.outbox.drained()
            await self.client_stream.linger()
        self.release()

    def send_going_away(self) -> None:
        """Tell the client, without waiting, that the server stops, where the transport has words for it."""
        return

    def release(self) -> None:
        """Close the socket at once."""
        self.ended = True
        if self.outbox.waiting_bytes:
            self.outbox.abort()
        else:
            self.outbox.discard()
            self.client_stream.before_close()
            self.client_stream.socket.close()


async def serve_connection(gateway: Gateway, connection: StreamConnection, bearer: str | None = None) -> None:
    """Pass a connection to the server, and close its socket in the end, even after an error.

    `bearer` is the token of the transport's handshake, where it had one.
    """
    try:
        await gateway.serve(connection, bearer=bearer, connected_at=connection.connected_at)
    except Exception:  # an error of one connection must not end others
        log.exception("serving a connection failed")
        await connection.close(CloseCode.INTERNAL, "")
    finally:
        connection.send_going_away()
        connection.release()
