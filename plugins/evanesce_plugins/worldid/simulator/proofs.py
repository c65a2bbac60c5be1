"""Proofs of the simulated World: numbers that cannot be forged, each valid for exactly one statement.

Real ones are Groth16 proofs, which any program can verify. These are keyed hashes, which only this simulator can
verify.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from evanesce_plugins.worldid.encoding import FIELD, hash_to_field

PROOF_OF_HUMAN = 1
"""The issuer schema of the only credential in this simulator."""

REGISTERED_ISSUERS = frozenset({PROOF_OF_HUMAN, 11, 9303, 9310})
"""The issuer schemas that World knows: proof of human, selfie, passport, the Japanese national card."""

EXPIRY_SECONDS = 5 * 3600
"""How long after its `expires_at_min` a proof is accepted. World's contract has some hours; the number is a guess."""

LEGACY_PARTS = 8
"""How many numbers a proof of World ID 3.0 has."""


_SESSION = re.compile(r"session_([0-9a-f]{64})(01[0-9a-f]{62})")


class KeyedHash:
    """Derives numbers of World ID's field from texts, by a hash with the key `seed`: all secrets of the simulator."""

    def __init__(self, seed: bytes) -> None:
        self._key = hashlib.blake2b(seed, digest_size=hashlib.blake2b.MAX_KEY_SIZE).digest()

    def number(self, purpose: str, *parts: str | int) -> int:
        """Return a number below `FIELD`."""
        mac = hashlib.blake2b(
            key=self._key, digest_size=64
        )  # twice as long as the field, so that all numbers are equally likely
        for part in (purpose, *parts):
            data = str(part).encode()
            mac.update(len(data).to_bytes(8, "big") + data)
        return int.from_bytes(mac.digest(), "big") % FIELD


@dataclass(frozen=True, slots=True)
class SessionId:
    """A World ID session: `commitment` is that of a person for `seed`, whose first byte is 01."""

    commitment: int
    seed: int

    @classmethod
    def parse(cls, text: str) -> SessionId:
        """Parse `session_` and 128 digits. Raises `ValueError`."""
        parts = _SESSION.fullmatch(text)
        if parts is None:
            raise ValueError(
                "this is not a session: session_ and 128 hexadecimal digits, of which the 65th is 0, then 1"
            )
        return cls(int(parts[1], 16), int(parts[2], 16))

    def __str__(self) -> str:
        return f"session_{self.commitment:064x}{self.seed:064x}"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a proof of World ID 4.0 states: the public inputs of World's circuit.

    `action` is the hash of the RP's action, or a session proof's own random one; `session` is the session's
    commitment, or 0. Times are in seconds since 1970.
    """

    environment: str
    rp_id: str
    action: int
    session: int
    nullifier: int
    signal_hash: int
    nonce: int
    issuer_schema_id: int
    expires_at_min: int


@dataclass(frozen=True, slots=True)
class LegacyStatement:
    """What a proof of World ID 3.0 states. It has no nonce: the same proof can be used repeatedly."""

    environment: str
    app_id: str
    action: str
    nullifier: int
    signal_hash: int


@dataclass(frozen=True, slots=True)
class Proven:
    """A proof of World ID 4.0; `session` is None for one of uniqueness."""

    statement: Statement
    proof: list[int]
    session: SessionId | None


@dataclass(frozen=True, slots=True)
class LegacyProven:
    """A proof of World ID 3.0."""

    statement: LegacyStatement
    root: int
    proof: bytes


class Prover:
    """Makes and verifies proofs, with the numbers of `derive`."""

    def __init__(self, derive: KeyedHash) -> None:
        self._derive = derive

    def prove(self, statement: Statement) -> list[int]:
        """Return the five numbers of a proof; the last is the root of the environment's tree of people."""
        parts = [self._derive.number("proof", number, *astuple(statement)) for number in range(4)]
        return [*parts, self._root(statement.environment)]

    def fault(self, statement: Statement, proof: Sequence[int], now: float) -> str | None:
        """Return the portal's code for what is wrong with a proof; None for a valid one."""
        inputs = (
            statement.action,
            statement.session,
            statement.nullifier,
            statement.signal_hash,
            statement.nonce,
        )
        if proof[-1] != self._root(statement.environment):
            return "invalid_root"
        if statement.issuer_schema_id not in REGISTERED_ISSUERS:
            return "invalid_credential_issuer"
        if statement.expires_at_min + EXPIRY_SECONDS < now:
            return "outdated_nullifier"
        if any(number >= FIELD for number in inputs):
            return "invalid_public_input"
        return None if list(proof) == self.prove(statement) else "invalid_proof"

    def prove_legacy(self, statement: LegacyStatement) -> tuple[int, bytes]:
        """Return the root, and the proof as eight numbers of 32 bytes."""
        parts = [self._derive.number("legacy proof", number, *astuple(statement)) for number in range(LEGACY_PARTS)]
        return self._legacy_root(statement.environment), b"".join(part.to_bytes(32, "big") for part in parts)

    def legacy_fault(self, statement: LegacyStatement, root: int, proof: bytes) -> str | None:
        """Return what `fault` returns, for a proof of World ID 3.0."""
        true_root, true_proof = self.prove_legacy(statement)
        if root != true_root:
            return "invalid_merkle_root"
        return None if proof == true_proof else "invalid_proof"

    def _root(self, environment: str) -> int:
        return self._derive.number("root", environment)

    def _legacy_root(self, environment: str) -> int:
        return self._derive.number("legacy root", environment)


def action_number(action: str) -> int:
    """Return the number that stands for an action in a proof of World ID 4.0."""
    return int.from_bytes(hash_to_field(action.encode()), "big")
