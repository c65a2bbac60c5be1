"""The simulated World: registered relying parties (RPs), the checks of its nodes, and the proofs that it makes.

Any name is a person. All numbers of a person are derived from the name and the World's seed, so that sessions survive
a restart. Used nonces, and the proofs that were made, are kept in memory.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evanesce_plugins.worldid import encoding, rp_signature
from evanesce_plugins.worldid.simulator.idkit import Kind, ProofRequest
from evanesce_plugins.worldid.simulator.proofs import (
    PROOF_OF_HUMAN,
    KeyedHash,
    LegacyProven,
    LegacyStatement,
    Proven,
    Prover,
    SessionId,
    Statement,
    action_number,
)

SEED = b"a World for trying out"
"""The default seed. It is public, because any client may prove anything here."""

ENVIRONMENTS = ("production", "staging")
REGISTERED = "registered"
"""The status of an RP that may request proofs. World has `pending`, `failed` and `deactivated` too."""

SKEW_SECONDS = 5 * 60
LIFE_SECONDS = 30 * 60
GRACE_SECONDS = 10 * 60
YEAR_SECONDS = 365 * 24 * 3600

# In World's protocol the first byte of a number is its kind; that of an RP's action is 00.
_SEED_PREFIX = b"\x01"
_ACTION_PREFIX = b"\x02"


class Refused(Exception):
    """The nodes or the phone refuse a request; `code` is the error that IDKit returns to the page."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """A registered RP. `signer` is an address (`0x`, 40 digits); `statuses` is by environment."""

    rp_id: str
    app_id: str
    signer: str
    statuses: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(ENVIRONMENTS, REGISTERED))


class World:
    """The state of the simulated World. `clock` returns seconds since 1970."""

    def __init__(self, *, seed: bytes = SEED, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._derive = KeyedHash(seed)
        self.prover = Prover(self._derive)
        self._parties: dict[str, RelyingParty] = {}
        self._nonces: dict[tuple[str, int], float] = {}
        self._made: dict[int, float] = {}

    def register(self, party: RelyingParty) -> None:
        """Register an RP, or change its registration."""
        self._parties[party.rp_id] = party

    def party(self, rp_id: str) -> RelyingParty | None:
        """Return a registered RP, or None."""
        return self._parties.get(rp_id)

    def prove(self, person: str, asked: ProofRequest) -> Proven:
        """Return a proof of World ID 4.0 by `person`. Raises `Refused`."""
        now = self.clock()
        self._admit(asked, now)
        rp_id = asked.context.rp_id
        session = asked.session
        if session is not None and session.commitment != self._commitment(person, asked, session.seed):
            # The error of World App for another person's session is not documented.
            raise Refused("generic_error")
        if asked.kind is Kind.CREATE_SESSION:
            seed = _random(_SEED_PREFIX)
            session = SessionId(self._commitment(person, asked, seed), seed)
        action = _random(_ACTION_PREFIX) if asked.action is None else action_number(asked.action)
        nullifier = self._derive.number("nullifier", person, asked.environment, rp_id, action)
        if asked.kind is Kind.UNIQUENESS:
            self._make_once(nullifier, now)
        statement = Statement(
            environment=asked.environment,
            rp_id=rp_id,
            action=action,
            session=0 if session is None else session.commitment,
            nullifier=nullifier,
            signal_hash=asked.signal_hash,
            nonce=encoding.number(asked.context.nonce),
            issuer_schema_id=PROOF_OF_HUMAN,
            expires_at_min=asked.expires_at_min,
        )
        return Proven(statement, self.prover.prove(statement), session)

    def prove_legacy(self, person: str, asked: ProofRequest) -> LegacyProven:
        """Return a proof of World ID 3.0, which does not involve World's nodes. Raises `Refused`."""
        if asked.action is None or not asked.legacy_allowed:
            raise Refused("world_id_4_not_available")
        self._party_of(asked)
        return self.prove_orb(person, asked.app_id, asked.environment, asked.action, asked.legacy_signal_hash)

    def prove_orb(self, person: str, app_id: str, environment: str, action: str, signal_hash: int) -> LegacyProven:
        """Return a proof of World ID 3.0 for a request with an app and without an RP. Raises `Refused`."""
        if environment not in ENVIRONMENTS:
            raise Refused("invalid_network")
        if all(party.app_id != app_id for party in self._parties.values()):
            raise Refused("malformed_request")
        statement = LegacyStatement(
            environment=environment,
            app_id=app_id,
            action=action,
            nullifier=self._derive.number("legacy nullifier", person, environment, app_id, action),
            signal_hash=signal_hash,
        )
        root, proof = self.prover.prove_legacy(statement)
        return LegacyProven(statement, root, proof)

    def _commitment(self, person: str, asked: ProofRequest, seed: int) -> int:
        return self._derive.number("session", person, asked.environment, asked.context.rp_id, seed)

    def _party_of(self, asked: ProofRequest) -> RelyingParty:
        party = self._parties.get(asked.context.rp_id)
        if party is None:
            raise Refused("unknown_rp")
        # Not documented: World App looks up the app, so the app of another RP is refused somehow.
        if party.app_id != asked.app_id:
            raise Refused("malformed_request")
        if asked.environment not in ENVIRONMENTS:
            raise Refused("invalid_network")
        if party.statuses.get(asked.environment) != REGISTERED:
            raise Refused("inactive_rp")
        return party

    def _admit(self, asked: ProofRequest, now: float) -> None:
        """Check the RP's signature as World's nodes do, and store its nonce as used."""
        party, context = self._party_of(asked), asked.context
        try:
            signer = rp_signature.recover(context, asked.action)
        except ValueError:
            raise Refused("invalid_rp_signature") from None
        if signer != party.signer.lower():
            raise Refused("invalid_rp_signature")
        if context.created_at < now - SKEW_SECONDS:
            raise Refused("timestamp_too_old")
        if context.created_at > now + SKEW_SECONDS:
            raise Refused("timestamp_too_far_in_future")
        if not context.created_at < context.expires_at <= context.created_at + LIFE_SECONDS:
            raise Refused("invalid_timestamp")
        if context.expires_at < now:
            raise Refused("rp_signature_expired")
        self._use_nonce(context, now)

    def _use_nonce(self, context: rp_signature.RpContext, now: float) -> None:
        nonce = (context.rp_id, encoding.number(context.nonce))
        # Expired requests are refused anyway, so their nonces can be dropped.
        self._nonces = {used: end for used, end in self._nonces.items() if end >= now}
        if nonce in self._nonces:
            raise Refused("duplicate_nonce")
        self._nonces[nonce] = context.expires_at

    def _make_once(self, nullifier: int, now: float) -> None:
        age = now - self._made.get(nullifier, now - YEAR_SECONDS)
        if GRACE_SECONDS < age < YEAR_SECONDS:
            raise Refused("nullifier_replayed")
        if age >= YEAR_SECONDS:
            self._made[nullifier] = now


def _random(prefix: bytes) -> int:
    return int.from_bytes(prefix + secrets.token_bytes(31), "big")
