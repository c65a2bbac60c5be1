"""The keys of all servers on one store, and the encryption of content with them."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection
from itertools import count

import msgspec
from cryptography.exceptions import InvalidTag

from evanesce.model import Draft, Message
from evanesce.store.sealing.checkpoints import STATE_BYTES, Checkpoints
from evanesce.store.sealing.interface import UnknownKey
from evanesce.store.sealing.key_chain import MEMORY_BYTES, KeyChain
from evanesce.store.sealing.locked_memory import PAGE, LockedMemory

PERIOD = 500
"""The length of a period, in milliseconds of the store's clock. All messages that expire in one have the same key."""

SLACK = 250
"""How many milliseconds later than expected a message may be stored without needing the key of a later period."""

CHAINS = 1_000
"""How many chains are kept. A server has one, and for the TTL of messages those before: up to five."""

CHECKPOINTS = 32_768
"""How many states of later periods all chains remember, in 2 MiB. One with messages of all TTLs of a day has 2,700."""

JUMP = 86_400_000
"""How far the store's clock may jump forward before the keys are renewed instead of advanced, in milliseconds."""

_ID_BYTES = 8
_SLOT = 512  # bytes of memory for each chain


class Keyring:
    """Encrypts content with keys of this server, and decrypts it with those of all servers.

    `ttl` is how long messages live at most, and times are of the store's clock, both in milliseconds. A key is
    overwritten between `SLACK` and `SLACK` + `PERIOD` after the end of the last message that was encrypted with it. As
    a context, all keys are overwritten at its end.
    """

    def __init__(self, ttl: int, now: int) -> None:
        self._ttl = ttl
        slots, checkpoints = CHAINS * _SLOT, CHECKPOINTS * STATE_BYTES
        self._memory = LockedMemory(-(-(slots + checkpoints) // PAGE) * PAGE)
        self._checkpoints = Checkpoints(self._memory.view(slots, checkpoints))
        self._free = list(range(CHAINS))
        self._slots: dict[str, int] = {}
        self._chains: dict[str, KeyChain] = {}
        self._last_used: dict[str, int] = {}  # the last period for which a chain that was replaced may have been used
        self._now = now
        self._nonces = count()
        self.own = ""
        """The name of the chain that encrypts."""
        self.renew(now)

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._chains):
            self._forget(name)
        self._memory.__exit__(None, None, None)

    @property
    def locked(self) -> bool:
        """Whether the kernel keeps the keys out of swap."""
        return self._memory.locked

    @property
    def known(self) -> Collection[str]:
        """The names of all chains."""
        return self._chains.keys()

    @property
    def full(self) -> bool:
        """Whether no chain can be added."""
        return not self._free

    def renew(self, now: int) -> None:
        """Use a new random chain from now on. The others must get it before they get what is encrypted with it."""
        if self.full:  # the one whose messages end first makes room
            self._forget(min(self._last_used, key=self._last_used.__getitem__))
        chain_id = os.urandom(_ID_BYTES)
        self._add(chain_id, now // PERIOD, None)
        previous, self.own = self.own, chain_id.hex()
        self.retire(previous)
        self._nonces = count()

    def seal(self, draft: Draft, ttl: int, now: int = 0) -> tuple[Draft, int]:
        """See `ContentCipher.seal`."""
        period = (max(now, self._now) + ttl + SLACK) // PERIOD
        cipher = self._chains[self.own].cipher(period)
        if cipher is None:
            raise AssertionError("the own chain has no key for a time that is ahead")
        nonce = next(self._nonces).to_bytes(12, "big")  # once per key: each chain is new, and its keys are never reused
        sealed = cipher.encrypt(nonce, draft.content.encode(), _context(draft))
        content = f"{self.own}.{period}.{base64.b64encode(nonce + sealed).decode()}"
        return msgspec.structs.replace(draft, content=content), (period + 1) * PERIOD - 1

    def open(self, message: Message) -> Message | None:
        """See `ContentCipher.open`."""
        name, _, rest = message.content.partition(".")
        period, _, encoded = rest.partition(".")
        if not encoded or not period.isascii() or not period.isdecimal() or len(period) > 18:
            return None
        if (chain := self._chains.get(name)) is None:
            raise UnknownKey(name[: 2 * _ID_BYTES])
        number = int(period)
        if number > self._latest() or (cipher := chain.cipher(number)) is None:
            return None
        try:
            sealed = base64.b64decode(encoded, validate=True)
            content = cipher.decrypt(sealed[:12], sealed[12:], _context(message)).decode()
        except (ValueError, InvalidTag):
            return None
        return msgspec.structs.replace(message, content=content)

    def advance(self, now: int) -> bool:
        """Overwrite the keys of all periods that are over; return whether the own chain is a new one.

        After a step of the store's clock the own chain is renewed: backward, keys that are needed again are gone.
        """
        stepped = not self._now - PERIOD <= now <= self._now + JUMP
        period, backward = now // PERIOD, now < self._now
        self._now = now
        if stepped:
            self.renew(now)
        for name, chain in list(self._chains.items()):
            ended = period > self._last_used.get(name, period) or period - chain.period > JUMP // PERIOD
            # After a step backward the keys of the time until then are gone: the other server offers a new chain.
            if ended or (stepped and backward and chain.period > period):
                self._forget(name)
            else:
                chain.advance(period)
        return stepped

    def export(self, name: str) -> bytes:
        """Return a chain as `take` takes it: secret, and readable. Encrypt it at once."""
        chain = self._chains[name]
        times = chain.period.to_bytes(8, "big") + self._last_used.get(name, 0).to_bytes(8, "big")
        return chain.chain_id + times + chain.export()

    def take(self, exported: bytes) -> bool:
        """Add the chain of another server; return whether it is new. Raises `ValueError` for anything else.

        A chain that no server uses is kept for as long as by the server that exports it, and no longer.
        """
        if len(exported) != EXPORT_BYTES:
            raise ValueError("this is no chain of keys")
        name, period = chain_name(exported), int.from_bytes(exported[_ID_BYTES:16], "big")
        last_used = int.from_bytes(exported[16:24], "big")
        if name in self._chains or 0 < last_used < self._now // PERIOD:
            return False
        if abs(period - self._now // PERIOD) > JUMP // PERIOD:
            raise ValueError("this chain of keys is of another time")
        self._add(exported[:_ID_BYTES], period, exported[24:])
        self._chains[name].advance(self._now // PERIOD)
        self._last_used[name] = min(last_used or self._latest(), self._latest())  # until it is known who uses it
        return True

    def use(self, name: str) -> None:
        """Keep a chain, as a server encrypts with it. Without that, a chain is kept for the TTL of messages."""
        self._last_used.pop(name, None)

    def retire(self, name: str) -> None:
        """Forget a chain, which no server uses any more, when all messages that it can have encrypted are gone."""
        if name in self._chains and name != self.own:
            self._last_used.setdefault(name, self._latest())

    def _latest(self) -> int:
        """Return the latest period of which a message may be. Clocks of servers may be a little apart."""
        return (self._now + self._ttl + SLACK) // PERIOD + 10

    def _add(self, chain_id: bytes, period: int, state: bytes | None) -> None:
        if not self._free:
            raise ValueError("there are too many chains of keys")
        slot = self._free.pop()
        memory = self._memory.view(slot * _SLOT, MEMORY_BYTES)
        if state is None:
            memory[:STATE_BYTES] = os.urandom(STATE_BYTES)
        else:
            memory[:STATE_BYTES] = state
        name = chain_id.hex()
        self._slots[name] = slot
        self._chains[name] = KeyChain(chain_id, period, memory, self._checkpoints)

    def _forget(self, name: str) -> None:
        self._chains.pop(name).forget()
        self._last_used.pop(name, None)
        self._free.append(self._slots.pop(name))


EXPORT_BYTES = _ID_BYTES + 16 + STATE_BYTES


def chain_name(exported: bytes) -> str:
    """Return the name of an exported chain."""
    return exported[:_ID_BYTES].hex()


def _context(message: Draft | Message) -> bytes:
    """Return what content belongs to: it decrypts nowhere else."""
    return f"{message.room_id}\n{message.message_id}\n{message.sender_id}".encode()
