"""A proof in the shape in which IDKit 4.3.0 gives it to the page, and with it the page to its server."""

from __future__ import annotations

from typing import Any

from evanesce_plugins.worldid.simulator.asked import Asked
from evanesce_plugins.worldid.simulator.forms import Forms
from evanesce_plugins.worldid.simulator.world import LegacyProven, Proven

IDENTIFIER = "proof_of_human"
LEGACY_IDENTIFIER = "orb"


def result(asked: Asked, proven: Proven, forms: Forms) -> dict[str, Any]:
    """Give the result for a proof of World ID 4.0."""
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


def legacy_result(asked: Asked, proven: LegacyProven, forms: Forms) -> dict[str, Any]:
    """Give the result for a proof of World ID 3.0."""
    item = {
        "identifier": LEGACY_IDENTIFIER,
        "signal_hash": _padded(proven.statement.signal_hash),
        "proof": f"0x{proven.proof.hex()}",
        "merkle_root": _padded(proven.root),
        "nullifier": forms.write(proven.statement.nullifier),
    }
    return _whole(asked, "3.0", item) | {"action": asked.action}


def _whole(asked: Asked, version: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol_version": version,
        "nonce": asked.context.nonce,
        "environment": asked.environment,
        "responses": [item],
    }


def _padded(number: int) -> str:
    return f"0x{number:064x}"
