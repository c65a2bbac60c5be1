"""The portal over real HTTP: what it verifies, its quirks, and how it fails when it is told to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.simulator.portal import Fault
from evanesce_plugins.worldid.simulator.world import RelyingParty
from tests.worldid.simulation import ACTION, APP_ID, KEY, RP_ID, Simulation

Change = Callable[[dict[str, Any]], None]


def in_item(name: str, value: Any) -> Change:
    def change(result: dict[str, Any]) -> None:
        result["responses"][0][name] = value

    return change


def in_result(name: str, value: Any) -> Change:
    def change(result: dict[str, Any]) -> None:
        result[name] = value

    return change


def other_number(name: str) -> Change:
    def change(result: dict[str, Any]) -> None:
        item = result["responses"][0]
        item[name] = f"0x{encoding.number(item[name]) ^ 1:x}"

    return change


def proof_part(number: int) -> Change:
    def change(result: dict[str, Any]) -> None:
        proof = result["responses"][0]["proof"]
        proof[number] = str(int(proof[number]) ^ 1)

    return change


def changed(result: dict[str, Any], change: Change) -> dict[str, Any]:
    made = copy.deepcopy(result)
    change(made)
    return made


async def item_code(simulated: Simulation, result: dict[str, Any]) -> str:
    status, answer = await simulated.verify(result)
    assert status == 400, answer
    assert (answer["success"], answer["code"]) == (False, "all_verifications_failed")
    [item] = answer["results"]
    assert item["success"] is False
    assert item["identifier"] == result["responses"][0]["identifier"]
    code: str = item["code"]
    return code


# What it verifies


async def test_a_proof_of_uniqueness_is_verified(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    status, answer = await simulated.verify(result)
    assert status == 200
    assert answer["success"] is True
    assert (answer["action"], answer["environment"], answer["protocol_version"]) == (ACTION, "staging", "4.0")
    assert encoding.nullifier(answer["nullifier"]) == encoding.nullifier(result["responses"][0]["nullifier"])
    assert answer["results"] == [
        {"identifier": "proof_of_human", "success": True, "nullifier": result["responses"][0]["nullifier"]}
    ]
    assert answer["created_at"] == "2026-11-24T06:00:00.000Z"


@pytest.mark.parametrize("purpose", ["create_session", "sign_in"])
async def test_a_proof_of_a_session_is_verified(simulated: Simulation, purpose: str) -> None:
    result = await simulated.proved("Ana", simulated.challenge("create_session"))
    if purpose == "sign_in":
        challenge = simulated.challenge("sign_in", sessionId=result["session_id"])
        result = await simulated.proved("Ana", challenge)
    status, answer = await simulated.verify(result)
    assert (status, answer["success"], answer["session_id"]) == (200, True, result["session_id"])
    assert (answer["environment"], "nullifier" in answer, "action" in answer) == ("staging", False, False)
    [item] = answer["results"]
    assert item["nullifier"] == result["responses"][0]["session_nullifier"][0]


async def test_a_legacy_proof_is_verified(simulated: Simulation) -> None:
    challenge = simulated.challenge("sign_up", legacyProofs=True)
    result = await simulated.proved("Ana", challenge, legacy=True)
    status, answer = await simulated.verify(result)
    assert (status, answer["success"], answer["protocol_version"]) == (200, True, "3.0")
    assert encoding.nullifier(answer["nullifier"]) == encoding.nullifier(result["responses"][0]["nullifier"])
    # It says nothing of the nonce: the same proof answers another challenge.
    assert (await simulated.verify(result | {"nonce": "0x1"}))[0] == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (in_result("action", "another"), "invalid_proof"),
        (in_result("nonce", "0x1"), "invalid_proof"),
        (in_result("nonce", "nonsense"), "verification_error"),
        (in_result("environment", "production"), "invalid_root"),
        (in_item("issuer_schema_id", 11), "invalid_proof"),
        (in_item("issuer_schema_id", 2), "invalid_credential_issuer"),
        (in_item("expires_at_min", 1_795_500_001), "invalid_proof"),
        (in_item("expires_at_min", 1_795_400_000), "outdated_nullifier"),
        (in_item("nullifier", f"{encoding.FIELD:#x}"), "invalid_public_input"),
        (other_number("nullifier"), "invalid_proof"),
        (other_number("signal_hash"), "invalid_proof"),
        *((proof_part(number), "invalid_proof") for number in range(4)),
        (proof_part(4), "invalid_root"),
        (in_item("proof", ["x"] * 5), "verification_error"),
    ],
)
async def test_a_proof_holds_for_what_it_says_alone(simulated: Simulation, change: Change, code: str) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    assert await item_code(simulated, changed(result, change)) == code
    assert (await simulated.verify(result))[0] == 200


@pytest.mark.parametrize("part", [0, 1])
async def test_a_session_proof_holds_for_what_it_says_alone(simulated: Simulation, part: int) -> None:
    result = await simulated.proved("Ana", simulated.challenge("create_session"))
    other = await simulated.proved("Ana", simulated.challenge("create_session"))
    assert await item_code(simulated, result | {"session_id": other["session_id"]}) == "invalid_proof"
    assert await item_code(simulated, result | {"nonce": other["nonce"]}) == "invalid_proof"
    result["responses"][0]["session_nullifier"][part] = other["responses"][0]["session_nullifier"][part]
    assert await item_code(simulated, result) == "invalid_proof"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (in_result("action", "another"), "invalid_proof"),
        (in_result("environment", "production"), "invalid_merkle_root"),
        (in_item("identifier", "device"), "invalid_merkle_root"),
        (in_item("proof", "0x00"), "invalid_proof"),
        (in_item("proof", "nonsense"), "verification_error"),
        (in_item("merkle_root", "0x1"), "invalid_merkle_root"),
        (other_number("nullifier"), "invalid_proof"),
        (other_number("signal_hash"), "invalid_proof"),
    ],
)
async def test_a_legacy_proof_holds_for_what_it_says_alone(simulated: Simulation, change: Change, code: str) -> None:
    challenge = simulated.challenge("sign_up", legacyProofs=True)
    result = await simulated.proved("Ana", challenge, legacy=True)
    assert await item_code(simulated, changed(result, change)) == code


async def test_a_proof_is_for_one_rp(simulated: Simulation) -> None:
    other = RelyingParty(rp_id="rp_00000000000000ff", app_id=APP_ID, signer=Signer(KEY).address)
    simulated.simulator.world.register(other)
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    status, answer = await simulated.verify(result, other.rp_id)
    assert (status, answer["results"][0]["code"]) == (400, "invalid_proof")


async def test_a_proof_runs_out(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    simulated.clock.now += 5 * 3600
    assert (await simulated.verify(result))[0] == 200
    simulated.clock.now += 1
    assert await item_code(simulated, result) == "outdated_nullifier"


# What it does not check


async def test_who_sends_no_user_agent_gets_a_page(simulated: Simulation) -> None:
    async with httpx2.AsyncClient(base_url=simulated.url, trust_env=False) as client:
        del client.headers["User-Agent"]
        for response in (
            await client.post(f"/api/v4/verify/{RP_ID}", json={}),
            await client.get(f"/api/v4/rp-status/{RP_ID}"),
        ):
            assert response.status_code == 403
            assert response.headers["Content-Type"].startswith("text/html")


async def test_one_good_item_of_several_is_enough(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    other = await simulated.proved("Ben", simulated.challenge("sign_up"))
    mixed = result | {"responses": [*other["responses"], *result["responses"]]}
    status, answer = await simulated.verify(mixed)
    assert (status, answer["success"]) == (200, True)
    assert [(item["success"], item.get("code")) for item in answer["results"]] == [
        (False, "invalid_proof"),
        (True, None),
    ]
    assert encoding.nullifier(answer["nullifier"]) == encoding.nullifier(result["responses"][0]["nullifier"])


async def test_the_same_proof_is_verified_again(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    _, first = await simulated.verify(result)
    simulated.clock.now += 60
    status, second = await simulated.verify(result)
    assert (status, second["success"], second["created_at"]) == (200, True, first["created_at"])


async def test_any_action_and_any_identifier_are_believed(simulated: Simulation) -> None:
    challenge = simulated.challenge("sign_up", action="never-registered")
    result = await simulated.proved("Ana", challenge)
    result["responses"][0]["identifier"] = "passport"
    status, answer = await simulated.verify(result)
    assert (status, answer["action"], answer["results"][0]["identifier"]) == (200, "never-registered", "passport")


async def test_the_seed_of_a_session_is_not_looked_at(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("create_session"))
    forged = result["session_id"][:-4] + ("0000" if result["session_id"][-4:] != "0000" else "1111")
    status, answer = await simulated.verify(result | {"session_id": forged})
    assert (status, answer["session_id"]) == (200, forged)


async def test_numbers_are_taken_and_given_in_any_form(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    item = result["responses"][0]
    value = encoding.number(item["nullifier"])
    answers = []
    for text in (f"{value:#x}", f"0x{value:064X}", f"0x{value:064x}"):
        item["nullifier"] = text
        item["proof"] = [hex(int(part)) if part.isdigit() else part for part in item["proof"]]
        status, answer = await simulated.verify(result)
        assert status == 200
        assert answer["results"][0]["nullifier"] == text
        answers.append(answer["nullifier"])
    assert {encoding.number(text) for text in answers} == {value}
    assert len(set(answers)) > 1


# Errors


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (in_result("protocol_version", "5.0"), "protocol_version"),
        (in_result("nonce", 7), "nonce"),
        (in_result("environment", "moon"), "environment"),
        (in_result("action", None), "action"),
        (in_result("session_id", "session_1"), "action"),
        (in_result("responses", []), "responses"),
        (in_item("proof", ["0x1"]), "responses[0].proof"),
        (in_item("nullifier", "0xg"), "responses[0].nullifier"),
        (in_item("signal_hash", "0xABC"), "responses[0].signal_hash"),
        (in_item("issuer_schema_id", "one"), "responses[0].issuer_schema_id"),
        (lambda result: result["responses"][0].pop("expires_at_min"), "responses[0]"),
    ],
)
async def test_what_has_not_the_form_is_told_by_its_path(simulated: Simulation, change: Change, attribute: str) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    status, answer = await simulated.verify(changed(result, change))
    assert (status, answer["code"], answer["attribute"]) == (400, "validation_error", attribute)
    assert "success" not in answer


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 30_000])
async def test_a_body_that_is_no_json(simulated: Simulation, body: bytes) -> None:
    response = await simulated.client.post(f"/api/v4/verify/{RP_ID}", content=body)
    assert response.status_code == 400
    assert response.json() == {
        "code": "invalid_request",
        "detail": "The body is no JSON.",
        "attribute": None,
        "app_id": RP_ID,
    }


async def test_an_rp_that_is_unknown_or_not_active(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    status, answer = await simulated.verify(result, "rp_00000000000000ff")
    assert (status, answer["code"], answer["app_id"]) == (400, "app_not_migrated", "rp_00000000000000ff")
    off = RelyingParty(
        rp_id=RP_ID,
        app_id=APP_ID,
        signer=Signer(KEY).address,
        statuses={"production": "deactivated", "staging": "registered"},
    )
    simulated.simulator.world.register(off)
    status, answer = await simulated.verify(result)
    assert (status, answer["code"]) == (400, "rp_not_active")
    response = await simulated.client.get(f"/api/v4/rp-status/{RP_ID}")
    assert response.json() == {"production_status": "deactivated", "staging_status": "registered"}


async def test_the_status_of_an_rp(simulated: Simulation) -> None:
    response = await simulated.client.get(f"/api/v4/rp-status/{RP_ID}")
    assert response.status_code == 200
    assert response.json() == {"production_status": "registered", "staging_status": "registered"}
    response = await simulated.client.get("/api/v4/rp-status/rp_00000000000000ff")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    response = await simulated.client.get("/api/v4/rp-status/app_1")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_rp_id")


async def test_nothing_else_is_served(simulated: Simulation) -> None:
    assert (await simulated.client.get("/api/v4/verify/" + RP_ID)).status_code == 405
    assert (await simulated.client.get("/nothing")).status_code == 404
    response = await simulated.client.post(f"/api/v4/verify/{RP_ID}", content=b" " * 70_000)
    assert (response.status_code, response.json()["code"]) == (413, "not_served")


# Faults


async def test_down_closes_the_connection_before_anything_is_done(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    simulated.simulator.faults.fault = Fault.DOWN
    with pytest.raises(httpx2.RemoteProtocolError):
        await simulated.verify(result)
    simulated.simulator.faults.fault = None
    simulated.clock.now += 60
    _, answer = await simulated.verify(result)
    assert answer["created_at"] == "2026-11-24T06:01:00.000Z"


async def test_late_closes_the_connection_after_all_is_done(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    simulated.simulator.faults.fault = Fault.LATE
    with pytest.raises(httpx2.RemoteProtocolError):
        await simulated.verify(result)
    simulated.simulator.faults.fault = None
    simulated.clock.now += 60
    _, answer = await simulated.verify(result)
    assert answer["created_at"] == "2026-11-24T06:00:00.000Z"


async def test_slow_holds_the_answer_back_until_it_is_lifted(simulated: Simulation) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    simulated.simulator.faults.fault = Fault.SLOW
    with pytest.raises(httpx2.ReadTimeout):
        await simulated.client.get(f"/api/v4/rp-status/{RP_ID}", timeout=httpx2.Timeout(10, read=0.2))
    statuses: list[int] = []

    async def verify() -> None:
        statuses.append((await simulated.verify(result))[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(verify)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert statuses == []
        simulated.simulator.faults.fault = None
    assert statuses == [200]


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("html", 503, None),
        ("error", 500, {"code": "internal_error", "detail": "Something went wrong.", "attribute": None}),
        ("refuse", 200, {"success": False, "code": "generic_error", "detail": "Something went wrong."}),
    ],
)
async def test_faults_are_switched_over_http(
    simulated: Simulation, fault: str, status: int, body: dict[str, Any] | None
) -> None:
    result = await simulated.proved("Ana", simulated.challenge("sign_up"))
    switched = await simulated.client.post("/simulator/fault", json={"fault": fault})
    assert (switched.status_code, switched.json()) == (200, {"fault": fault, "skew": 0.0})
    response = await simulated.client.post(f"/api/v4/verify/{RP_ID}", json=result)
    assert response.status_code == status
    if body is None:
        assert response.headers["Content-Type"].startswith("text/html")
    else:
        assert response.json() == body
    assert (await simulated.client.post("/simulator/fault", json={})).status_code == 200
    assert (await simulated.verify(result))[0] == 200


async def test_the_clock_may_be_wrong(simulated: Simulation) -> None:
    async def date() -> float:
        response = await simulated.client.get(f"/api/v4/rp-status/{RP_ID}")
        assert len(response.headers.get_list("Date")) == 1
        return parsedate_to_datetime(response.headers["Date"]).timestamp()

    assert await date() == simulated.clock.now
    await simulated.client.post("/simulator/fault", json={"skew": -3600})
    assert await date() == simulated.clock.now - 3600
    simulated.simulator.faults.skew = 120.0
    assert await date() == simulated.clock.now + 120


@pytest.mark.parametrize("body", [{"fault": "flood"}, {"skew": "late"}, {"skew": 1e12}, {"faults": "down"}, []])
async def test_a_fault_that_is_none(simulated: Simulation, body: Any) -> None:
    response = await simulated.client.post("/simulator/fault", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert simulated.simulator.faults.fault is None
