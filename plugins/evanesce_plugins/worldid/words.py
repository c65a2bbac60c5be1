"""What World's portal answers, in words that a person understands."""

from __future__ import annotations

_WORDS = {
    # of one proof
    "outdated_nullifier": "it is too old by now. Make a new one",
    "nullifier_from_future": "the clock of its device is wrong. Set it, and make a new one",
    "invalid_root": "World does not know what it was made from. Wait a few minutes, and make a new one",
    "invalid_merkle_root": "World does not know what it was made from. Wait a few minutes, and make a new one",
    "invalid_credential_issuer": "it is of a credential that World does not know. Update World App",
    "invalid_proof": "it is not true. Make a new one",
    "invalid_public_input": "it is not true. Make a new one",
    "verification_failed": "it is not true. Make a new one",
    "verification_error": "it could not be checked. Make a new one",
    "generic_error": "it could not be checked. Make a new one",
    "all_verifications_failed": "it is not true. Make a new one",
    "environment_mismatch": "it is of another environment of World ID",
    "environment_not_allowed": "it is of another environment of World ID",
    "integrity_verification_failed": "World App could not show that it is unchanged. Update it",
    # of the request
    "invalid_request": "World cannot read it. Make a new one",
    "validation_error": "World cannot read it. Make a new one",
    "required": "World cannot read it. Make a new one",
    # of the deployer
    "app_not_migrated": "this server is not registered for World ID 4.0. Its operator has to do that",
    "rp_not_active": "this server's registration is not active. Its operator has to activate it",
    "configuration_error": "this server's registration is not complete. Its operator has to complete it",
    "not_found": "World does not know this server any more. Its operator has to register it",
}

OPERATORS = frozenset({"app_not_migrated", "rp_not_active", "configuration_error", "not_found"})
"""Codes about which the person can do nothing: the deployer is told in the log."""


def refusal(code: str) -> str:
    """Say why World did not take a proof; `code` is the portal's, and stands there for who looks it up."""
    why = _WORDS.get(code, "its reason is not known here. Make a new one")
    return f"World ID did not take this proof: {why} ({code})."
