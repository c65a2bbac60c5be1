"""Proofs of the simulated World: numbers that nobody can make up, and that hold for exactly one statement.

The real ones are Groth16 proofs, which anybody can check; these are keyed hashes, which the same simulator checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from evanesce_plugins.worldid.encoding import FIELD, hash_to_field
from evanesce_plugins.worldid.simulator.derive import Derive

PROOF_OF_HUMAN = 1
"""The issuer schema of the only credential that people have here."""

REGISTERED_ISSUERS = frozenset({PROOF_OF_HUMAN, 11, 9303, 9310})
"""The issuer schemas that World knows: proof of human, selfie, passport, the Japanese national card."""

EXPIRY_SECONDS = 5 * 3600
"""How long after its `expires_at_min` a proof is still taken. World's contract has some hours; how many is a guess."""

LEGACY_PARTS = 8
"""How many numbers a proof of World ID 3.0 has."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a proof of World ID 4.0 says: the public inputs of World's circuit.

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
    """What a proof of World ID 3.0 says. It has no nonce: the same proof may be shown again and again."""

    environment: str
    app_id: str
    action: str
    nullifier: int
    signal_hash: int


class Prover:
    """Makes and checks proofs, with the numbers of `derive`."""

    def __init__(self, derive: Derive) -> None:
        self._derive = derive

    def prove(self, statement: Statement) -> list[int]:
        """Give the five numbers of a proof; the last is the root of the environment's tree of people."""
        parts = [self._derive.number("proof", number, *astuple(statement)) for number in range(4)]
        return [*parts, self._root(statement.environment)]

    def fault(self, statement: Statement, proof: Sequence[int], now: float) -> str | None:
        """Give the portal's code for what is wrong with a proof; None where nothing is."""
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
        """Give the root, and the proof as eight numbers of 32 bytes."""
        parts = [self._derive.number("legacy proof", number, *astuple(statement)) for number in range(LEGACY_PARTS)]
        return self._legacy_root(statement.environment), b"".join(part.to_bytes(32, "big") for part in parts)

    def legacy_fault(self, statement: LegacyStatement, root: int, proof: bytes) -> str | None:
        """As `fault`, for a proof of World ID 3.0."""
        true_root, true_proof = self.prove_legacy(statement)
        if root != true_root:
            return "invalid_merkle_root"
        return None if proof == true_proof else "invalid_proof"

    def _root(self, environment: str) -> int:
        return self._derive.number("root", environment)

    def _legacy_root(self, environment: str) -> int:
        return self._derive.number("legacy root", environment)


def action_number(action: str) -> int:
    """Give the number that stands for an action in a proof of World ID 4.0."""
    return int.from_bytes(hash_to_field(action.encode()), "big")
