"""Ways to get in as somebody else, or as one person twice: one test each, and nobody gets in.

The attacker may send anything, and has every proof that World would make for them or for another relying party. What a
true proof is, the simulated World says, over real HTTP.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import httpx2
import msgspec
import pytest
import trio

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.proof import bound_signal
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.simulator import idkit
from evanesce_plugins.worldid.simulator.control import ProveRequest, asked_of
from evanesce_plugins.worldid.simulator.idkit import NumberFormats
from evanesce_plugins.worldid.simulator.portal import Fault
from evanesce_plugins.worldid.simulator.world import RelyingParty
from tests.plugins.worldid.deployment import Browser, Refusal
from tests.plugins.worldid.scene import Fields, Scene, changed, with_session


async def test_a_true_proof_gets_in(scene: Scene) -> None:
    """The door does open: what is refused below is refused for what was changed."""
    challenge, result = await scene.asked("sign_up")
    assert (await scene.mallory.answer("sign_up", challenge, result, **with_session(challenge))).created
    code = (await scene.mallory.profile())["accountCode"]
    assert not (await Browser(scene.deployment, scene.ada.server).sign_in("mallory", code)).created


async def test_replayed_proof(scene: Scene) -> None:
    challenge, seen = await scene.asked("sign_in", "ada", accountCode=scene.code)
    await Browser(scene.deployment, scene.ada.server).answer("sign_in", challenge, seen, accountCode=scene.code)
    fresh = await scene.mallory.challenge("sign_in", accountCode=scene.code)
    await scene.refused("sign_in", fresh, seen, accountCode=scene.code)


async def test_replayed_proof_with_the_nonce_and_signal_rewritten(scene: Scene) -> None:
    _, seen = await scene.asked("sign_in", "ada", accountCode=scene.code)
    fresh = await scene.mallory.challenge("sign_in", accountCode=scene.code)
    forged = changed(seen, signal_hash=encoding.signal_hash(fresh["signal"])) | {"nonce": fresh["rpContext"]["nonce"]}
    refusal = await scene.refused("sign_in", fresh, forged, accountCode=scene.code)
    assert "invalid_proof" in refusal.message


async def test_replayed_challenge(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_in", "ada", accountCode=scene.code)
    await Browser(scene.deployment, scene.ada.server).answer("sign_in", challenge, result, accountCode=scene.code)
    await scene.refused("sign_in", challenge, result, accountCode=scene.code)


async def test_one_challenge_on_two_servers_at_once(scene: Scene) -> None:
    async with scene.deployment.server() as other:
        challenge, result = await scene.asked("sign_in", "ada", accountCode=scene.code)
        outcomes: list[str] = []

        async def answer(page: Browser) -> None:
            try:
                await page.answer("sign_in", challenge, result, accountCode=scene.code)
                outcomes.append("in")
            except Refusal as refusal:
                outcomes.append(refusal.code)

        async with trio.open_nursery() as nursery:
            for server in (scene.ada.server, other):
                nursery.start_soon(answer, Browser(scene.deployment, server))
        assert sorted(outcomes) == ["auth_failed", "in"]


async def test_expired_challenge(scene: Scene) -> None:
    async with scene.deployment.server(challenge_seconds=1) as server:
        scene.mallory.server = server
        challenge, result = await scene.asked("sign_up")
        await trio.sleep_until(trio.current_time() + 1)
        await scene.refused("sign_up", challenge, result)


async def test_a_challenge_that_was_never_given(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    for made_up in ("00000000-0000-4000-8000-000000000000", "", "*", challenge["challengeId"].upper()):
        await scene.refused("sign_up", challenge | {"challengeId": made_up}, result)


async def test_other_action(scene: Scene) -> None:
    challenge = await scene.begin()
    action = "vote"
    settings = scene.deployment.settings
    context = Signer(settings.signing_keys[0]).context(
        settings.rp_id, now=challenge["rpContext"]["created_at"], seconds=300, action=action
    )
    elsewhere = challenge | {"action": action, "rpContext": msgspec.to_builtins(context)}
    result = scene.deployment.prove("mallory", "sign_up", elsewhere)
    await scene.refused("sign_up", challenge, result)
    challenge = await scene.begin()
    await scene.refused("sign_up", challenge, result | {"nonce": challenge["rpContext"]["nonce"]})


async def test_other_action_of_which_the_name_is_rewritten(scene: Scene) -> None:
    challenge = await scene.begin()
    settings = scene.deployment.settings
    context = Signer(settings.signing_keys[0]).context(
        settings.rp_id, now=challenge["rpContext"]["created_at"], seconds=300, action="vote"
    )
    result = scene.deployment.prove(
        "mallory", "sign_up", challenge | {"action": "vote", "rpContext": msgspec.to_builtins(context)}
    )
    forged = result | {"nonce": challenge["rpContext"]["nonce"], "action": settings.action}
    assert "invalid_proof" in (await scene.refused("sign_up", challenge, forged)).message


async def test_other_environment(scene: Scene) -> None:
    challenge = await scene.begin()
    result = scene.deployment.prove("mallory", "sign_up", challenge | {"environment": "staging"})
    await scene.refused("sign_up", challenge, result)
    challenge, _ = await scene.asked("sign_up")
    refusal = await scene.refused("sign_up", challenge, result | {"environment": "production"})
    assert "another request" in refusal.message


async def test_other_environment_of_which_the_name_is_rewritten(scene: Scene) -> None:
    challenge = await scene.begin()
    result = scene.deployment.prove("mallory", "sign_up", challenge | {"environment": "staging"})
    refusal = await scene.refused("sign_up", challenge, result | {"environment": "production"})
    assert "invalid_root" in refusal.message


async def test_other_rp_id(scene: Scene) -> None:
    """Mallory runs a site of his own, and has it ask for Ada's proof with the nonce that he was given here."""
    world, key = scene.deployment.simulator.world, "cd" * 32
    world.register(RelyingParty(rp_id="rp_00000000000000ff", app_id="app_mallorys", signer=Signer(key).address))
    challenge = await scene.begin()
    ours = challenge["rpContext"]
    theirs = Signer(key).context("rp_00000000000000ff", now=ours["created_at"], seconds=300, action="sign-up")
    asked = challenge | {"appId": "app_mallorys", "rpId": theirs.rp_id, "rpContext": msgspec.to_builtins(theirs)}
    result = scene.deployment.prove("ada", "sign_up", asked)
    refusal = await scene.refused("sign_up", challenge, result | {"nonce": ours["nonce"]})
    assert "invalid_proof" in refusal.message


async def test_two_items_where_one_is_bad(scene: Scene) -> None:
    for bad_first in (True, False):
        challenge, result = await scene.asked("sign_up", "mallory")
        [good] = result["responses"]
        bad = good | {"nullifier": "0x5"}
        items = [bad, good] if bad_first else [good, bad]
        await scene.refused("sign_up", challenge, result | {"responses": items})


async def test_the_portal_would_have_taken_one_good_item_of_two(scene: Scene) -> None:
    """The quirk that the test above is about is there."""
    challenge, result = await scene.asked("sign_up")
    [good] = result["responses"]
    url = f"{scene.deployment.settings.portal}/api/v4/verify/{scene.deployment.settings.rp_id}"
    async with httpx2.AsyncClient() as client:
        answer = await client.post(url, json=result | {"responses": [good | {"nullifier": "0x5"}, good]})
    assert answer.status_code == 200
    assert [item["success"] for item in answer.json()["results"]] == [False, True]
    assert challenge["challengeId"]


async def test_no_item_at_all(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    await scene.refused("sign_up", challenge, result | {"responses": []})


@pytest.mark.parametrize("schema", [0, 2, 11, 9303, -1])
async def test_issuer_schema_id_not_1(schema: int, scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    await scene.refused("sign_up", challenge, changed(result, issuer_schema_id=schema))


@pytest.mark.parametrize("form", ["0x{:x}", "0x{:064x}", "0x{:064X}", "0x{:X}"])
async def test_a_nullifier_in_another_form_is_the_same_person(form: str, scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up", "ada")
    number = int(result["responses"][0]["nullifier"], 16)
    written = changed(result, nullifier=form.format(number))
    answer = await scene.mallory.answer("sign_up", challenge, written, **with_session(challenge))
    assert (answer.created, answer.reply.user_id) == (False, scene.user_id)
    assert len(scene.deployment.accounts.users) == 1


@pytest.mark.parametrize("nullifier", ["0x0", "0x" + "0" * 64, hex(encoding.FIELD), hex(encoding.FIELD + 1)])
async def test_nullifier_zero_or_above_the_field(nullifier: str, scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    await scene.refused("sign_up", challenge, changed(result, nullifier=nullifier))


async def test_nullifier_that_is_the_same_modulo_the_field(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up", "ada")
    number = int(result["responses"][0]["nullifier"], 16)
    await scene.refused("sign_up", challenge, changed(result, nullifier=hex(number + encoding.FIELD)))


async def test_appended_bytes(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    [item] = result["responses"]
    number, proof = int(item["nullifier"], 16), item["proof"]
    longer = changed(result, nullifier=f"0x{number:064x}00")
    await scene.refused("sign_up", challenge, longer, "bad_request")
    await scene.refused("sign_up", challenge, changed(result, proof=[*proof[:4], proof[4] + "0" * 20]), "bad_request")
    await scene.refused("sign_up", challenge, result | {"nonce": f"0x{0:064x}00"}, "bad_request")
    await scene.refused("sign_up", challenge, changed(result, nullifier="0x5 "))


async def test_swapped_session_id(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_in", "ada", accountCode=scene.code)
    head, seed = result["session_id"][:72], result["session_id"][72:]
    other_seed = seed[:-1] + ("0" if seed[-1] != "0" else "1")
    await scene.refused("sign_in", challenge, result | {"session_id": head + other_seed}, accountCode=scene.code)
    kept = scene.deployment.accounts.registered["worldid", scene.user_id]
    assert kept.value == result["session_id"]


async def test_reused_session_nullifier(scene: Scene) -> None:
    """Mallory has a proof of Ada's session of which the nullifier was used, for a new challenge of his."""
    challenge, first = await scene.asked("sign_in", "ada", accountCode=scene.code)
    await Browser(scene.deployment, scene.ada.server).answer("sign_in", challenge, first, accountCode=scene.code)
    fresh = await scene.mallory.challenge("sign_in", accountCode=scene.code)
    wanted = {**fresh, "person": "ada", "purpose": "sign_in"}
    asked, world = asked_of(msgspec.convert(wanted, ProveRequest)), scene.deployment.simulator.world
    proven = world.prove("ada", asked)
    nullifier, action = (int(text, 16) for text in first["responses"][0]["session_nullifier"])
    statement = dataclasses.replace(proven.statement, nullifier=nullifier, action=action)
    again = idkit.result(
        asked, dataclasses.replace(proven, statement=statement, proof=world.prover.prove(statement)), NumberFormats()
    )
    refusal = await scene.refused("sign_in", fresh, again, accountCode=scene.code)
    assert "used before" in refusal.message


async def test_session_proof_for_another_account(scene: Scene) -> None:
    """Mallory proves his own session, and says that it is Ada's account that he means."""
    own = await Browser(scene.deployment, scene.ada.server).member("mallory")
    challenge, result = await scene.asked("sign_in", "mallory", accountCode=own)
    with pytest.raises(Refusal, match="another account"):
        await scene.mallory.answer("sign_in", challenge, result, accountCode=scene.code)
    assert scene.mallory.token is None
    own_session = challenge["sessionId"]
    challenge = await scene.mallory.challenge("sign_in", accountCode=scene.code)
    result = scene.deployment.prove("mallory", "sign_in", challenge | {"sessionId": own_session})
    with pytest.raises(Refusal, match="session of another account"):
        await scene.mallory.answer("sign_in", challenge, result, accountCode=scene.code)
    assert scene.mallory.token is None


async def test_somebody_elses_session_registered_with_ones_own_account(scene: Scene) -> None:
    """Were Ada's session Mallory's too, her next proof would be his to use."""
    challenge = await scene.mallory.challenge("sign_up")
    adas = scene.deployment.accounts.registered["worldid", scene.user_id].value
    again = challenge | {"rpContext": challenge["sessionContext"], "sessionId": adas}
    session = scene.deployment.prove("ada", "sign_in", again)
    bound = challenge | {"session": session, "signal": bound_signal(challenge["signal"], adas)}
    refusal = await scene.refused("sign_up", bound, scene.deployment.prove("mallory", "sign_up", bound))
    assert "registered with another account" in refusal.message


async def test_signal_of_another_challenge(scene: Scene) -> None:
    challenge = await scene.begin()
    other = await scene.begin()
    result = scene.deployment.prove("mallory", "sign_up", challenge | {"signal": other["signal"]})
    await scene.refused("sign_up", challenge, result)
    challenge = await scene.begin()
    result = scene.deployment.prove("mallory", "sign_up", challenge | {"signal": other["signal"]})
    forged = changed(result, signal_hash=encoding.signal_hash(challenge["signal"]))
    assert "invalid_proof" in (await scene.refused("sign_up", challenge, forged)).message


@pytest.mark.parametrize(("asked", "answered"), [("sign_up", "sign_in"), ("sign_in", "sign_up")])
async def test_a_challenge_of_another_purpose(asked: str, answered: str, scene: Scene) -> None:
    fields = {"accountCode": scene.code}
    challenge, result = await scene.asked(asked, "ada", **(fields if asked == "sign_in" else {}))
    await scene.refused(answered, challenge, result, **fields)


async def test_a_session_proof_as_a_sign_up(scene: Scene) -> None:
    """A session proof's nullifier is another one each time: whoever signed up with it could do so without end."""
    challenge, session = await scene.asked("sign_in", "ada", accountCode=scene.code)
    sign_up = await scene.begin()
    [item] = session["responses"]
    nullifier, _ = item["session_nullifier"]
    forged = {name: value for name, value in item.items() if name != "session_nullifier"} | {"nullifier": nullifier}
    result = session | {"responses": [forged], "action": scene.deployment.settings.action}
    await scene.refused("sign_up", sign_up, result | {"nonce": sign_up["rpContext"]["nonce"]})
    del result["session_id"]
    challenge = await scene.begin()
    forged |= {"signal_hash": encoding.signal_hash(challenge["signal"])}
    result |= {"nonce": challenge["rpContext"]["nonce"], "responses": [forged]}
    assert "invalid_proof" in (await scene.refused("sign_up", challenge, result)).message


async def test_a_200_that_says_success_false(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    scene.deployment.simulator.faults.fault = Fault.REFUSE
    await scene.refused("sign_up", challenge, result)


@pytest.mark.parametrize("scene", [3.0], indirect=True)
async def test_a_portal_time_out_in_the_middle(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    scene.deployment.simulator.faults.fault = Fault.SLOW
    with trio.fail_after(30):
        await scene.refused("sign_up", challenge, result, "auth_unavailable")


async def test_a_person_who_did_not_approve(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    root = result["responses"][0]["proof"][4]
    await scene.refused("sign_up", challenge, changed(result, proof=["1", "2", "3", "4", root]))


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "0x" + "1" * 10_000},
        {"action": "x" * 10_000},
        {"environment": "x" * 10_000},
        {"session_id": "session_" + "0" * 10_000},
        {"responses": [{}] * 1_000},
        {"protocol_version": "4" * 10_000},
        {"integrity_bundle": {"jwt": "x" * 40_000}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_oversized_fields(change: Fields, scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    await scene.refused("sign_up", challenge, result | change, "bad_request")
    await scene.refused("sign_up", challenge | {"challengeId": "x" * 10_000}, result, "bad_request")


@pytest.mark.parametrize("name", ["nullifier", "signal_hash", "identifier"])
async def test_oversized_fields_of_an_item(name: str, scene: Scene) -> None:
    challenge, result = await scene.asked("sign_up")
    await scene.refused("sign_up", challenge, changed(result, **{name: "0x" + "1" * 10_000}), "bad_request")
    await scene.refused("sign_up", challenge, changed(result, more="x" * 40_000), "bad_request")


@pytest.mark.parametrize("nonsense", [None, 5, "x", [], {}, {"responses": None}, [[[[]]]]], ids=json.dumps)
async def test_a_result_that_is_none(nonsense: Any, scene: Scene) -> None:
    challenge = await scene.begin()
    await scene.refused("sign_up", challenge, nonsense, "bad_request")
