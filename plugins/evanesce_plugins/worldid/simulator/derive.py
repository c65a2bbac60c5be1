"""All that is secret in the simulated World, as numbers of World ID's field that a keyed hash makes."""

from __future__ import annotations

import hashlib

from evanesce_plugins.worldid.encoding import FIELD


class Derive:
    """Gives the same number for the same words: who does not know `seed` can neither foresee nor forge it."""

    def __init__(self, seed: bytes) -> None:
        self._key = hashlib.blake2b(seed, digest_size=hashlib.blake2b.MAX_KEY_SIZE).digest()

    def number(self, purpose: str, *parts: str | int) -> int:
        """Give a number below `FIELD`."""
        mac = hashlib.blake2b(key=self._key, digest_size=64)  # twice as long as the field: no number is likelier
        for part in (purpose, *parts):
            data = str(part).encode()
            mac.update(len(data).to_bytes(8, "big") + data)
        return int.from_bytes(mac.digest(), "big") % FIELD
