"""What servers tell each other, over one channel."""

from __future__ import annotations

import logging

import msgspec
import trio

from evanesce.store.base import Notice, TokenRevoked, UserErased, UserRenamed

logger = logging.getLogger(__name__)

WAITING = 10_000
"""How many notices wait here until somebody asks for them."""

_KINDS: dict[str, type[TokenRevoked] | type[UserErased] | type[UserRenamed]] = {
    kind.__name__: kind for kind in (TokenRevoked, UserErased, UserRenamed)
}
_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def encode(notice: Notice) -> bytes:
    """Write a notice as JSON: its kind, and what it says."""
    return msgspec.json.encode([type(notice).__name__, notice])


class Notices:
    """The notices that came and that nobody has asked for yet."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Notice](WAITING)

    def acknowledged(self) -> None:
        """Nothing to do: what was announced while nobody listened is lost, as the contract has it."""

    def push(self, payload: bytes) -> None:
        """Take what was published; what another version of the server says and this one does not know is skipped."""
        try:
            name, notice = _decoder.decode(payload)
            kind = _KINDS[msgspec.json.decode(name, type=str)]
            self._send.send_nowait(msgspec.json.decode(notice, type=kind))
        except (msgspec.MsgspecError, ValueError, KeyError):
            logger.warning("a notice was not understood")
        except trio.WouldBlock:
            logger.error("a notice was dropped: %d wait already", WAITING)

    async def next(self) -> Notice:
        """Wait for the next one."""
        return await self._receive.receive()
