"""The contract of transports. Each test listens, and connects clients that speak the transport's own protocol."""

from __future__ import annotations

from evanesce.testing.contracts.transport.endings import EndingTests
from evanesce.testing.contracts.transport.frames import FrameTests
from evanesce.testing.contracts.transport.parts import TransportClient

__all__ = ["TransportClient", "TransportContract"]


class TransportContract(FrameTests, EndingTests):
    """The contract of a `Transport`. Override `make_transport` and `connect`.

    It tests that frames arrive unchanged, in order and once, that a client which reads nothing is refused more and
    delays no other, that no message is sent after it has expired, how connections end, and that nothing is left open.
    """
