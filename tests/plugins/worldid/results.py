"""What IDKit returns, for a challenge of these tests: each good unless a test changes it."""

from __future__ import annotations

from typing import Any

import msgspec

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.proof import Result, Wanted
from evanesce_plugins.worldid.settings import WorldIdSettings

KEY = "ab" * 32
NONCE = "0x008ae1aa597fa146ebd3aa2ceddf360668dea5e526567e92b0321816a4e895bd"
SIGNAL = "0x" + "5a" * 32
SESSION = "session_" + "0123456789abcdef" * 8
NULLIFIER = "0x0abc"


def settings(**changes: Any) -> WorldIdSettings:
    fields: dict[str, Any] = {"app_id": "app_test", "rp_id": "rp_0123456789abcdef", "action": "sign-up"}
    return msgspec.convert(fields | {"signing_key": KEY} | changes, WorldIdSettings)


def wanted(kind: str = "uniqueness", **changes: Any) -> Wanted:
    fields: dict[str, Any] = {"kind": kind, "nonce": NONCE, "signal": SIGNAL}
    if kind == "session":
        fields["session_id"] = SESSION
    return msgspec.convert(fields | changes, Wanted)


def item(kind: str = "uniqueness", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "identifier": "proof_of_human",
        "issuer_schema_id": 1,
        "signal_hash": encoding.signal_hash(SIGNAL),
        "expires_at_min": 1_788_302_888,
        "proof": ["0x1", "0x2", "0x3", "0x4", "0x5"],
    }
    if kind == "uniqueness":
        fields["nullifier"] = NULLIFIER
    else:
        fields["session_nullifier"] = [NULLIFIER, "0x7"]
    return fields | changes


def legacy_item(**changes: Any) -> dict[str, Any]:
    fields = {
        "identifier": "orb",
        "signal_hash": encoding.signal_hash(SIGNAL),
        "merkle_root": "0x9",
        "nullifier": NULLIFIER,
        "proof": "0x" + "1f" * 256,
    }
    return fields | changes


def fields(kind: str = "uniqueness", **changes: Any) -> dict[str, Any]:
    """Return a result as it is on the wire."""
    given: dict[str, Any] = {
        "protocol_version": "4.0",
        "nonce": NONCE,
        "environment": "production",
        "responses": [item(kind)],
    }
    given |= {"action": "sign-up"} if kind == "uniqueness" else {"session_id": SESSION}
    return {name: value for name, value in (given | changes).items() if value is not None}


def result(kind: str = "uniqueness", **changes: Any) -> Result:
    return msgspec.convert(fields(kind, **changes), Result)
