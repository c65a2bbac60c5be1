"""Limits for each client address: connections at a time, and handshakes in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from evanesce.addresses import Network, address_block, network_check
from evanesce.errors import RateLimited
from evanesce.limits.token_bucket import TokenBucket

BURST_SECONDS = 2.0
"""The burst, in seconds' worth of handshakes: a page loads a dozen files at once."""

CONNECTION_SECONDS = 5.0
"""After how many seconds a client of an address with too many connections may try again."""

MOST_ADDRESSES = 50_000
"""For how many addresses handshakes are counted: about 10 MB."""

REFUSALS_PER_SECOND = 20.0
"""How many refused clients get an answer with the reason, over all addresses: an answer over TLS is expensive."""


class AddressLimits:
    """Counts what each address uses, where an address is what `address_block` returns.

    Addresses in the networks `exempt` have no limit. `clock` returns seconds of a monotonic clock.
    """

    def __init__(
        self, *, connections: int, handshakes: float, exempt: Sequence[Network], clock: Callable[[], float]
    ) -> None:
        self._most = connections
        self._is_exempt = network_check(exempt)
        self._connections: dict[str, int] = {}
        burst = max(1.0, handshakes * BURST_SECONDS)
        self._handshakes = TokenBucket(handshakes, burst, clock, most_keys=MOST_ADDRESSES)
        self._answers = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_PER_SECOND, clock)
        self.refused_connections = 0
        """How many connections were refused because their address had too many."""
        self.refused_handshakes = 0
        """How many handshakes and requests were refused because their address had made too many."""

    def is_exempt(self, address: str) -> bool:
        """Return whether `address` has no limit."""
        return self._is_exempt(address)

    def count_handshake(self, address: str) -> None:
        """Count a handshake or request from `address`. Raises `RateLimited`."""
        if self.is_exempt(address):
            return
        if wait := self._handshakes.take(address_block(address)):
            self.refused_handshakes += 1
            raise RateLimited("Too many requests from this address. Wait a moment.", wait)

    def hold_connection(self, address: str) -> HeldConnection:
        """Count a connection from `address` until it is released. Raises `RateLimited`."""
        if self.is_exempt(address):
            return _UNCOUNTED
        block = address_block(address)
        count = self._connections.get(block, 0)
        if count >= self._most:
            self.refused_connections += 1
            raise RateLimited("Too many connections from this address. Close one of them.", CONNECTION_SECONDS)
        self._connections[block] = count + 1
        return HeldConnection(self._connections, block)

    def may_tell(self) -> bool:
        """Return whether a refused client may get an answer with the reason; otherwise reset its connection."""
        return not self._answers.take(None)


class HeldConnection:
    """One counted connection: a context manager, or call `release` when the connection has ended."""

    __slots__ = ("_block", "_counts")

    def __init__(self, counts: dict[str, int] | None, block: str) -> None:
        self._counts = counts
        self._block = block

    def release(self) -> None:
        """Stop counting the connection. May be called again."""
        counts, self._counts = self._counts, None
        if counts is None:
            return
        counts[self._block] -= 1
        if not counts[self._block]:
            del counts[self._block]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()


_UNCOUNTED = HeldConnection(None, "")
"""The one of all connections from exempt addresses."""
