"""Proofs without a browser: a challenge in, what IDKit would have given the page out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from evanesce_plugins.worldid import encoding
from tests.worldid.simulation import ACTION, RP_ID, Simulation


async def test_a_uniqueness_result_has_idkits_shape(simulated: Simulation) -> None:
    challenge = simulated.challenge("sign_up")
    result = await simulated.proved("Ana", challenge)
    [item] = result.pop("responses")
    assert result == {
        "protocol_version": "4.0",
        "nonce": challenge["rpContext"]["nonce"],
        "action": ACTION,
        "environment": "staging",
    }
    proof = item.pop("proof")
    assert len(proof) == 5
    assert all(re.fullmatch(r"[0-9]{1,77}", part) and int(part) < encoding.FIELD for part in proof)
    assert len(encoding.nullifier(item.pop("nullifier"))) == 64
    assert item == {
        "identifier": "proof_of_human",
        "issuer_schema_id": 1,
        "expires_at_min": challenge["rpContext"]["created_at"],
        "signal_hash": encoding.signal_hash(challenge["signal"]),
    }


async def test_a_session_result_has_idkits_shape(simulated: Simulation) -> None:
    challenge = simulated.challenge("create_session")
    result = await simulated.proved("Ana", challenge)
    [item] = result.pop("responses")
    assert set(result) == {"protocol_version", "nonce", "session_id", "environment"}
    assert re.fullmatch(r"session_[0-9a-f]{128}", result["session_id"])
    assert set(item) == {
        "identifier",
        "issuer_schema_id",
        "expires_at_min",
        "signal_hash",
        "proof",
        "session_nullifier",
    }
    nullifier, action = item["session_nullifier"]
    assert encoding.number(nullifier) < encoding.FIELD
    assert re.fullmatch(r"0x02[0-9a-f]{62}", action)


async def test_a_legacy_result_has_idkits_shape(simulated: Simulation) -> None:
    challenge = simulated.challenge("sign_up", legacyProofs=True)
    result = await simulated.proved("Ana", challenge, legacy=True)
    [item] = result.pop("responses")
    assert result == {
        "protocol_version": "3.0",
        "nonce": challenge["rpContext"]["nonce"],
        "action": ACTION,
        "environment": "staging",
    }
    assert set(item) == {"identifier", "signal_hash", "proof", "merkle_root", "nullifier"}
    assert item["identifier"] == "orb"
    assert re.fullmatch(r"0x[0-9a-f]{512}", item["proof"])


async def test_a_nullifier_is_one_number_in_many_forms(simulated: Simulation) -> None:
    texts = {
        (await simulated.proved("Ana", simulated.challenge("sign_up")))["responses"][0]["nullifier"] for _ in range(3)
    }
    assert len(texts) > 1
    assert len({encoding.nullifier(text) for text in texts}) == 1


async def test_what_the_nodes_refuse_is_idkits_error(simulated: Simulation) -> None:
    challenge = simulated.challenge("sign_up")
    await simulated.proved("Ana", challenge)
    assert await simulated.refused("Ana", challenge) == "duplicate_nonce"
    simulated.clock.now += 601
    assert await simulated.refused("Ana", simulated.challenge("sign_up")) == "nullifier_replayed"
    assert await simulated.refused("Ben", simulated.challenge("sign_up", action="other") | {"action": ACTION}) == (
        "invalid_rp_signature"
    )
    assert await simulated.refused("Ben", simulated.challenge("sign_up"), legacy=True) == "world_id_4_not_available"


async def test_a_session_is_its_persons(simulated: Simulation) -> None:
    made = await simulated.proved("Ana", simulated.challenge("create_session"))
    challenge = simulated.challenge("sign_in", sessionId=made["session_id"])
    assert await simulated.refused("Ben", challenge) == "generic_error"
    again = await simulated.proved("Ana", simulated.challenge("sign_in", sessionId=made["session_id"]))
    assert again["session_id"] == made["session_id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"person": ""},
        {"purpose": "look"},
        {"rpId": "rp_00000000000000ff"},
        {"action": None},
        {"rpContext": {"rp_id": RP_ID}},
        {"purpose": "sign_in"},
        {"purpose": "sign_in", "sessionId": "session_12"},
        {"purpose": "sign_in", "sessionId": "session_" + "0" * 128},
        {"signal": None},
    ],
)
async def test_a_challenge_that_idkit_would_not_take(simulated: Simulation, changes: dict[str, Any]) -> None:
    body = {"person": "Ana", **simulated.challenge("sign_up"), **changes}
    response = await simulated.client.post("/simulator/prove", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert response.json()["detail"]
