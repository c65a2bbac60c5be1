"""What a session writes to: the outbox that a connection names, otherwise the connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.delivery.outbox import Outbox
from evanesce.metrics import Metrics
from evanesce.protocol.events import Ok
from evanesce.sessions.connection import ClientConnection
from evanesce.testing.connection import FRAMING, MemoryConnection

FRAME = Frame([Outgoing(Ok(ref=1))])


class Named(MemoryConnection):
    """A connection with an attribute `outbox`."""

    def __init__(self, outbox: object) -> None:
        super().__init__()
        self.outbox = outbox


def writes(connection: MemoryConnection) -> list[Callable[[], object]]:
    client = ClientConnection(connection, 1_048_576, Metrics())
    return [lambda: client.write(FRAME), lambda: client.offer(FRAME)]


@pytest.mark.parametrize("write", [0, 1], ids=["write", "offer"])
async def test_an_outbox_is_written_to_directly(write: int) -> None:
    near, far = trio.socket.socketpair()
    async with trio.open_nursery() as nursery:
        connection = Named(Outbox(nursery, near, FRAMING, limit=1_048_576))
        writes(connection)[write]()
        with trio.fail_after(60):
            assert await far.recv(4096) == FRAME.wire(FRAMING)
    assert connection.frames == []
    near.close()
    far.close()


@pytest.mark.parametrize("write", [0, 1], ids=["write", "offer"])
@pytest.mark.parametrize("outbox", [None, [], "another thing of a plugin"], ids=repr)
async def test_any_other_attribute_of_that_name_is_left_alone(outbox: object, write: int) -> None:
    connection = Named(outbox)
    writes(connection)[write]()
    assert connection.frames == [FRAME.wire(FRAMING)]
