"""A transport of Evanesce in front of a gateway that returns each message: what Autobahn's fuzzing client talks to.

`python -m tests.conformance.echo TRANSPORT` prints its URL, and serves until it is terminated.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import trio

from evanesce.delivery.frame import Frame, Framing
from evanesce.interfaces import Connection
from evanesce_transports import websocket
from tests.transports.serving import FakeGateway, build, frame_of

_BINARY = 0x82
"""The first byte of a whole binary message (RFC 6455, section 5.2)."""


class BinaryFrame(Frame):
    """A binary message. Evanesce itself sends text alone."""

    __slots__ = ()

    def wire(self, framing: Framing) -> bytes:
        """Return the wire bytes of a text message, with the opcode of a binary one."""
        return bytes([_BINARY]) + framing.frame(self.payload)[1:]


class NoFrame(Frame):
    """Nothing, in place of the `goodbye` before a close frame, which Autobahn takes for an answer to invalid data."""

    __slots__ = ()

    def wire(self, framing: Framing) -> bytes:
        """Return no bytes."""
        return b""


class EchoGateway(FakeGateway):
    """A gateway that returns text as text, and binary messages as binary messages."""

    async def echo(self, connection: Connection) -> None:
        """Return each message until the connection ends."""
        while (message := await connection.receive()) is not None:
            connection.write(frame_of(message.encode()) if isinstance(message, str) else BinaryFrame([], message))


async def main(transport: str) -> None:
    """Serve on a port of the system's."""
    websocket.Frame = NoFrame  # type: ignore[misc]  # of all frames, the connection itself makes this one alone
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(build(transport, Path()).serve, EchoGateway())
        print(urls[0], flush=True)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    trio.run(main, sys.argv[1])
