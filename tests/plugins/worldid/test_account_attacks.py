"""Ways to take over an account, or to find out about one, with a stolen token, a public id or a guessed code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evanesce.model import RegisteredAccount
from evanesce.protocol.commands import ForgetMe
from evanesce_plugins.worldid import account_code, encoding
from evanesce_plugins.worldid.proof import bound_signal
from evanesce_plugins.worldid.simulator.proofs import SessionId
from evanesce_plugins.worldid.simulator.world import Refused as RefusedByWorld
from tests.plugins.worldid.deployment import ADDRESS, Browser, Refusal, RefusedChallenge
from tests.plugins.worldid.scene import Scene, changed

# A token was stolen


def stolen(scene: Scene) -> Browser:
    """Return Mallory's browser with a token of Ada's, whose account has no session (it was made by World ID 3.0)."""
    page = Browser(scene.deployment, scene.ada.server)
    page.token = scene.ada.token
    scene.deployment.accounts.registered.clear()
    return page


async def test_a_stolen_token_registers_no_session(scene: Scene) -> None:
    """With a session of his own registered Mallory could sign in to Ada's account for ever."""
    page = stolen(scene)
    with pytest.raises(RefusedChallenge) as refused:
        await page.challenge("create_session")
    assert (refused.value.code, refused.value.field) == ("bad_request", "purpose")

    with pytest.raises(Refusal) as not_his:
        await page.sign_up("mallory")
    assert not_his.value.code == "forbidden"
    assert scene.deployment.accounts.registered == {}
    profile = await page.profile()
    assert profile["userId"] == scene.user_id
    assert "accountCode" not in profile

    answer = await Browser(scene.deployment, scene.ada.server).sign_up("ada")
    assert (answer.created, answer.reply.user_id) == (False, scene.user_id)
    assert len(scene.deployment.accounts.registered) == 1, "she herself can register hers"


@pytest.mark.parametrize("with_token", [True, False])
async def test_a_persons_proof_registers_no_other_session_than_it_names(with_token: bool, scene: Scene) -> None:
    """Mallory has Ada's own proof for his challenge, and puts a session of his own beside it."""
    page = stolen(scene)
    page.token = page.token if with_token else None
    for renamed in (False, True):
        challenge = await page.challenge("sign_up")
        hers, his = scene.session("ada", challenge), scene.session("mallory", await page.challenge("sign_up"))
        signal = bound_signal(challenge["signal"], hers["session_id"])
        proof = scene.deployment.prove("ada", "sign_up", challenge | {"signal": signal})
        given = hers | {"session_id": his["session_id"]} if renamed else his | {"nonce": hers["nonce"]}
        with pytest.raises(Refusal) as refused:
            await page.answer("sign_up", challenge, proof, session=given)
        assert refused.value.code == "auth_failed"
        assert scene.deployment.accounts.registered == {}


async def test_a_session_that_is_bound_but_not_proved(scene: Scene) -> None:
    """World says whose session it is, and that there is one."""
    challenge = await scene.begin()
    [item] = challenge["session"]["responses"]
    forged = challenge["session"] | {"responses": [item | {"proof": ["1", "2", "3", "4", item["proof"][4]]}]}
    proof = scene.deployment.prove("mallory", "sign_up", challenge)
    refusal = await scene.refused("sign_up", challenge | {"session": forged}, proof)
    assert "invalid_proof" in refusal.message


async def test_a_session_of_another_challenge(scene: Scene) -> None:
    old = await scene.begin()
    fresh = await scene.mallory.challenge("sign_up")
    bound = fresh | {"session": old["session"], "signal": bound_signal(fresh["signal"], old["session"]["session_id"])}
    refusal = await scene.refused("sign_up", bound, scene.deployment.prove("mallory", "sign_up", bound))
    assert "another request" in refusal.message


# The account code


async def test_the_public_user_id_names_no_account(scene: Scene) -> None:
    """Everybody in a room knows it: it gives neither a challenge nor the session's id."""
    with pytest.raises(RefusedChallenge) as refused:
        await scene.mallory.challenge("sign_in", userId=scene.user_id)
    assert (refused.value.code, refused.value.field) == ("bad_request", "userId")
    assert "`accountCode`" in str(refused.value)
    assert "session_" not in json.dumps(refused.value.reply)
    with pytest.raises(RefusedChallenge) as no_code:
        await scene.mallory.challenge("sign_in", accountCode=scene.user_id)
    assert (no_code.value.code, no_code.value.field) == ("bad_request", "accountCode")
    assert scene.user_id not in str(no_code.value), "what was given for a code is not repeated"

    challenge, result = await scene.asked("sign_in", "ada", accountCode=scene.code)
    refusal = await scene.refused("sign_in", challenge, result, "bad_request", userId=scene.user_id)
    assert "`accountCode`" in refusal.message


async def test_an_unknown_code_looks_alike_and_fails(scene: Scene) -> None:
    other = account_code.new()
    known = [await scene.mallory.challenge("sign_in", accountCode=scene.code) for _ in range(2)]
    unknown = [await scene.mallory.challenge("sign_in", accountCode=other) for _ in range(2)]
    assert unknown[0]["sessionId"] == unknown[1]["sessionId"], "asked twice, it says the same"
    assert known[0]["sessionId"] == known[1]["sessionId"] != unknown[0]["sessionId"]
    assert [shape(challenge) for challenge in unknown] == [shape(challenge) for challenge in known]
    async with scene.deployment.server() as another:
        elsewhere = await Browser(scene.deployment, another).challenge("sign_in", accountCode=other)
        assert elsewhere["sessionId"] == unknown[0]["sessionId"], "on each server"

    # Mallory's phone says the same of a session that is Ada's and of one that is nobody's.
    for challenge in (known[0], unknown[0]):
        with pytest.raises(RefusedByWorld) as refused:
            scene.deployment.prove("mallory", "sign_in", challenge)
        assert refused.value.code == "generic_error"
    # And the server says the same of a proof that is not true.
    own = await Browser(scene.deployment, scene.ada.server).member("mallory")
    scene.accounts = dict(scene.deployment.accounts.users)
    scene.registered = dict(scene.deployment.accounts.registered)
    _, result = await scene.asked("sign_in", "mallory", accountCode=own)
    said: list[str] = []
    for code, challenge in ((scene.code, known[1]), (other, unknown[1])):
        forged = changed(result, signal_hash=encoding.signal_hash(challenge["signal"]))
        forged |= {"nonce": challenge["rpContext"]["nonce"], "session_id": challenge["sessionId"]}
        said.append((await scene.refused("sign_in", challenge, forged, accountCode=code)).message)
    assert said[0] == said[1]


async def test_a_code_without_an_account_costs_the_same_queries(scene: Scene) -> None:
    asked: list[str] = []
    repository = scene.deployment.accounts
    find = repository.find_registration

    async def counted(provider: str, code: str) -> RegisteredAccount | None:
        asked.append(code)
        return await find(provider, code)

    repository.find_registration = counted  # type: ignore[method-assign]
    other = account_code.new()
    for code in (scene.code, other):
        await scene.mallory.challenge("sign_in", accountCode=code)
    assert asked == [scene.code, other]


async def test_unknown_codes_have_sessions_as_world_makes_them(scene: Scene) -> None:
    codes = [account_code.new() for _ in range(20)]
    ids = {(await scene.mallory.challenge("sign_in", accountCode=code))["sessionId"] for code in codes}
    assert len(ids) == len(codes)
    for text in ids:
        session = SessionId.parse(text)
        assert 0 < session.commitment < encoding.FIELD
        assert session.seed < encoding.FIELD


async def test_the_code_is_taken_as_people_type_it(scene: Scene) -> None:
    grouped = "-".join(scene.code[place : place + 4] for place in range(0, len(scene.code), 4)).lower()
    challenge = await scene.mallory.challenge("sign_in", accountCode=f" {grouped} ")
    plain = await scene.mallory.challenge("sign_in", accountCode=scene.code)
    assert challenge["sessionId"] == plain["sessionId"]
    result = scene.deployment.prove("ada", "sign_in", challenge)
    answer = await Browser(scene.deployment, scene.ada.server).answer(
        "sign_in", challenge, result, accountCode=scene.code.replace("0", "o").replace("1", "l")
    )
    assert answer.reply.user_id == scene.user_id


async def test_an_account_that_was_erased_between_challenge_and_answer(scene: Scene) -> None:
    challenge, result = await scene.asked("sign_in", "ada", accountCode=scene.code)
    assert scene.ada.token is not None
    await scene.ada.server.gateway.execute(ForgetMe(), bearer=scene.ada.token, address=ADDRESS)
    scene.accounts, scene.registered = {}, {}
    await scene.refused("sign_in", challenge, result, accountCode=scene.code)


def shape(value: Any) -> Any:
    """Return the form of a challenge: what may differ from one to the next is replaced by its length or its type."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return len(value) if isinstance(value, str) else type(value)
