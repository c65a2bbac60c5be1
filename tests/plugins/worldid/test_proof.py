"""What a proof has to be about before World is asked whether it is true."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evanesce.errors import AuthFailed, BadRequest
from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.proof import REQUEST_BYTES, Result, check
from tests.plugins.worldid.results import (
    NONCE,
    NULLIFIER,
    SESSION,
    fields,
    item,
    legacy_item,
    result,
    settings,
    wanted,
)

STORED = f"{int(NULLIFIER, 16):064x}"


@pytest.mark.parametrize("kind", ["uniqueness", "new_session", "session"])
def test_a_good_proof_is_passed_on_unchanged(kind: str) -> None:
    proof = check(result(kind), wanted(kind), settings())
    assert proof.request == fields(kind)
    assert proof.nullifier == STORED
    assert proof.session_id == (None if kind == "uniqueness" else SESSION)
    assert not proof.legacy


def test_what_the_portal_does_not_need_stays_here() -> None:
    given = result(action_description="x", user_presence_completed=True, proof_type="uniqueness", unknown=[1])
    assert check(given, wanted(), settings()).request == fields()


def test_an_items_further_fields_and_the_integrity_bundle_go_along() -> None:
    bundle = {"version": 1, "signature_format": "apple_app_attest", "timestamp": 5, "signature": "00", "jwt": "x.y.z"}
    given = fields(responses=[item(credential_genesis_issued_at_min=5)], integrity_bundle=bundle)
    assert check(msgspec.convert(given, Result), wanted(), settings()).request == given


@pytest.mark.parametrize("text", ["0xabc", "0xABC", "0x0abc", "0x" + "0" * 61 + "aBc"])
def test_a_nullifier_is_one_number_in_whatever_form(text: str) -> None:
    assert check(result(responses=[item(nullifier=text)]), wanted(), settings()).nullifier == STORED


@pytest.mark.parametrize("text", ["0x0", "0x" + "0" * 64, hex(encoding.FIELD), "0x" + "f" * 64, "abc", "0x", " 0xabc"])
def test_a_nullifier_that_nobody_can_have(text: str) -> None:
    with pytest.raises(AuthFailed, match="nullifier of this proof is invalid"):
        check(result(responses=[item(nullifier=text)]), wanted(), settings())
    given = result("session", responses=[item("session", session_nullifier=[text, "0x7"])])
    with pytest.raises(AuthFailed, match="nullifier of this proof is invalid"):
        check(given, wanted("session"), settings())


def test_a_nonce_is_compared_as_a_number() -> None:
    for text in (NONCE.upper().replace("0X", "0x"), "0x" + NONCE[4:]):
        assert check(result(nonce=text), wanted(), settings()).nullifier == STORED


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "0x1"},
        {"nonce": "nonsense"},
        {"environment": "staging"},
        {"environment": "sandbox"},
        {"action": "another"},
        {"action": None},
        {"action": "sign-up", "session_id": SESSION},
        {"responses": []},
        {"responses": [item(), item()]},
        {"responses": [item(), item(proof=["0x0"] * 5)]},
        {"responses": [item(issuer_schema_id=2)]},
        {"responses": [item(issuer_schema_id=9303, identifier="passport")]},
        {"responses": [item(identifier="passport")]},
        {"responses": [item(signal_hash="0x1")]},
        {"responses": [item(signal_hash=encoding.signal_hash("another"))]},
        {"protocol_version": "3.0", "responses": [legacy_item()]},
    ],
)
def test_a_proof_of_something_else(changes: dict[str, Any]) -> None:
    with pytest.raises(AuthFailed):
        check(result(**changes), wanted(), settings())


@pytest.mark.parametrize("kind", ["new_session", "session"])
@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": None},
        {"session_id": None, "action": "sign-up"},
        {"action": "sign-up"},
        {"protocol_version": "3.0", "responses": [legacy_item()]},
    ],
)
def test_a_session_is_not_proved_by_something_else(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(AuthFailed):
        check(result(kind, **changes), wanted(kind), settings(legacy_proofs=True))


def test_another_session_than_the_accounts() -> None:
    other = SESSION[:-1] + "0"
    assert other != SESSION
    with pytest.raises(AuthFailed, match="another account"):
        check(result("session", session_id=other), wanted("session"), settings())
    assert check(result("new_session", session_id=other), wanted("new_session"), settings()).session_id == other


@pytest.mark.parametrize(
    "changed",
    [
        item(nullifier=NULLIFIER + "0" * 64),
        item(nullifier=None),
        item(nullifier=5),
        item(session_nullifier=["0x1", "0x2"]),
        item("session"),
        item(proof=["0x1"] * 4),
        item(proof=["0x1"] * 6),
        item(proof=["1" * 79, *["0x1"] * 4]),
        item(proof="0x1"),
        item(expires_at_min=-1),
        item(expires_at_min="soon"),
        item(identifier="x" * 65),
        {},
    ],
)
def test_an_item_of_another_shape(changed: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        check(result(responses=[changed]), wanted(), settings())
    assert (refused.value.field or "").startswith("credential.result.responses")
    assert NULLIFIER not in refused.value.message


def test_a_uniqueness_proof_in_a_sessions_place() -> None:
    with pytest.raises(BadRequest, match="session_nullifier"):
        check(result("session", responses=[item()]), wanted("session"), settings())


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "0x" + "1" * 65},
        {"action": "x" * 129},
        {"session_id": SESSION + "0"},
        {"session_id": SESSION.upper()},
        {"responses": [item()] * 9},
        {"protocol_version": "5.0"},
        {"environment": "x" * 33},
        {"responses": "none"},
    ],
)
def test_a_result_of_another_shape(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        result(**changes)


def test_a_proof_that_is_too_large() -> None:
    with pytest.raises(BadRequest, match=str(REQUEST_BYTES)):
        check(result(responses=[item(more="x" * REQUEST_BYTES)]), wanted(), settings())


# World ID 3.0


def legacy_result(**changes: Any) -> Result:
    return result(protocol_version="3.0", responses=[legacy_item(**changes)])


def test_a_legacy_proof_where_it_is_taken() -> None:
    proof = check(legacy_result(), wanted(), settings(legacy_proofs=True))
    assert (proof.legacy, proof.nullifier) == (True, STORED)


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": "device"},
        {"identifier": "face"},
        {"identifier": "proof_of_human"},
        {"signal_hash": encoding.signal_hash("another")},
        {"nullifier": "0x0"},
    ],
)
def test_a_legacy_proof_of_something_else(changes: dict[str, Any]) -> None:
    with pytest.raises(AuthFailed):
        check(legacy_result(**changes), wanted(), settings(legacy_proofs=True))


def test_a_legacy_proof_of_another_shape() -> None:
    for changes in ({"proof": "0x" + "1" * 2049}, {"merkle_root": "0x" + "1" * 65}, {"nullifier": None}):
        with pytest.raises(BadRequest):
            check(legacy_result(**changes), wanted(), settings(legacy_proofs=True))
