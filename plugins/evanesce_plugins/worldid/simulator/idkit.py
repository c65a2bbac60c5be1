"""Requests of IDKit 4.3.0 to a phone, and the results that it returns to the page."""

from __future__ import annotations

import enum
import itertools
import re
from dataclasses import dataclass
from typing import Any

from evanesce_plugins.worldid.rp_signature import RpContext
from evanesce_plugins.worldid.simulator.proofs import LegacyProven, Proven, SessionId

IDENTIFIER = "proof_of_human"
LEGACY_IDENTIFIER = "orb"

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,64}|[0-9]{1,78}")


class Kind(enum.Enum):
    """What is to be proved: a person's first use of an action, or the same person again."""

    UNIQUENESS = enum.auto()
    CREATE_SESSION = enum.auto()
    PROVE_SESSION = enum.auto()


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """A request for a proof of the credential proof_of_human.

    `action` is None except for `Kind.UNIQUENESS`, `session` is None except for `Kind.PROVE_SESSION`. `signal_hash` is 0
    where there is no signal; `legacy_signal_hash` is its equivalent for a proof of World ID 3.0.
    """

    kind: Kind
    app_id: str
    environment: str
    context: RpContext
    action: str | None
    session: SessionId | None
    signal_hash: int
    legacy_signal_hash: int
    expires_at_min: int
    legacy_allowed: bool


class NumberFormats:
    """Writes numbers in alternating forms, as World does: texts differ in leading zeros and in case."""

    def __init__(self) -> None:
        self._forms = itertools.cycle(("0x{:064x}", "0x{:x}", "0x{:064X}"))

    def write(self, number: int) -> str:
        """Return `number` as `0x` and up to 64 digits."""
        return next(self._forms).format(number)


def read_number(text: str) -> int:
    """Parse a number as World's portal does: hexadecimal after `0x`, decimal without it. Raises `ValueError`."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"this is not a number: {text[:80]!r}")
    return int(text, 16 if text.startswith("0x") else 10)


def result(asked: ProofRequest, proven: Proven, forms: NumberFormats) -> dict[str, Any]:
    """Return the result for a proof of World ID 4.0."""
    statement = proven.statement
    item: dict[str, Any] = {
        "identifier": IDENTIFIER,
        "issuer_schema_id": statement.issuer_schema_id,
        # IDKit writes these five in decimal, and all other numbers in hexadecimal.
        "proof": [str(number) for number in proven.proof],
        "expires_at_min": statement.expires_at_min,
        "signal_hash": _padded(statement.signal_hash),
    }
    if proven.session is None:
        item["nullifier"] = forms.write(statement.nullifier)
        return _whole(asked, "4.0", item) | {"action": asked.action}
    item["session_nullifier"] = [forms.write(statement.nullifier), _padded(statement.action)]
    return _whole(asked, "4.0", item) | {"session_id": str(proven.session)}


def legacy_result(asked: ProofRequest, proven: LegacyProven, forms: NumberFormats) -> dict[str, Any]:
    """Return the result for a proof of World ID 3.0."""
    item = {
        "identifier": LEGACY_IDENTIFIER,
        "signal_hash": _padded(proven.statement.signal_hash),
        "proof": f"0x{proven.proof.hex()}",
        "merkle_root": _padded(proven.root),
        "nullifier": forms.write(proven.statement.nullifier),
    }
    return _whole(asked, "3.0", item) | {"action": asked.action}


def _whole(asked: ProofRequest, version: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol_version": version,
        "nonce": asked.context.nonce,
        "environment": asked.environment,
        "responses": [item],
    }


def _padded(number: int) -> str:
    return f"0x{number:064x}"
