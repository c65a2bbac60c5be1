"""People sign up, sign out, sign in on another device and are forgotten; the simulated World verifies over HTTP."""

from __future__ import annotations

import re

import pytest
import trio

from evanesce.protocol.commands import ForgetMe, SignOut
from evanesce_plugins.worldid.simulator.faults import Fault
from evanesce_plugins.worldid.simulator.world import Refused as RefusedByWorld
from evanesce_plugins.worldid.simulator.world import RelyingParty
from tests.plugins.worldid.deployment import ADDRESS, Browser, Refusal, RefusedChallenge, deployed

MINUTES = 60.0
YEAR = 366 * 24 * 3600.0


async def test_a_challenge_has_all_that_idkit_takes() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        assert challenge.keys() == {
            *(
                "challengeId",
                "appId",
                "rpId",
                "environment",
                "action",
                "signal",
                "rpContext",
                "expiresAt",
                "legacyProofs",
            ),
        }
        assert challenge["rpContext"].keys() == {"rp_id", "nonce", "created_at", "expires_at", "signature"}
        assert challenge["action"] == deployment.settings.action
        assert challenge["legacyProofs"] is False
        await page.sign_up("ada")
        session = await page.challenge("create_session")
        assert "action" not in session
        assert "sessionId" not in session
        assert session["signal"] != challenge["signal"]


async def test_one_human_one_account_on_every_device() -> None:
    async with deployed() as deployment, deployment.server() as server:
        phone, laptop = Browser(deployment, server), Browser(deployment, server)
        new = await phone.sign_up("ada", displayName="Ada L.")
        assert new.created
        assert new.reply.display_name == "Ada L."
        user_id = new.reply.user_id
        [account] = deployment.accounts.users.values()
        assert re.fullmatch(r"[0-9a-f]{64}", account.world_id)

        again = await phone.create_session("ada")
        assert (again.created, again.reply.user_id) == (False, user_id)

        assert phone.token is not None
        await server.gateway.execute(SignOut(), bearer=phone.token, address=ADDRESS)
        signed_in = await laptop.sign_in("ada", user_id)
        assert (signed_in.created, signed_in.reply.user_id) == (False, user_id)
        third = await Browser(deployment, server).sign_in("ada", user_id)
        assert third.reply.user_id == user_id
        assert len(deployment.accounts.users) == 1


async def test_signing_up_again_signs_in_to_the_same_account() -> None:
    async with deployed() as deployment, deployment.server() as server:
        first = await Browser(deployment, server).sign_up("ada", displayName="Ada")
        again = await Browser(deployment, server).sign_up("ada", displayName="Somebody Else")
        assert (first.created, again.created) == (True, False)
        assert again.reply.user_id == first.reply.user_id
        assert again.reply.display_name == "Ada"
        other = await Browser(deployment, server).sign_up("bob")
        assert other.created
        assert len(deployment.accounts.users) == 2


async def test_two_sign_ups_of_one_person_at_once_make_one_account() -> None:
    async with deployed() as deployment, deployment.server() as one, deployment.server() as two:
        pages = [Browser(deployment, server) for server in (one, two) for _ in range(4)]
        created: list[bool] = []
        ids: set[str] = set()

        async def sign_up(page: Browser) -> None:
            answer = await page.sign_up("ada")
            created.append(answer.created)
            ids.add(answer.reply.user_id)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for page in pages:
                    nursery.start_soon(sign_up, page)
        assert sorted(created) == [False] * 7 + [True]
        assert len(ids) == len(deployment.accounts.users) == 1


async def test_a_session_can_be_made_later_and_stays() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        user_id = (await page.sign_up("ada")).reply.user_id
        with pytest.raises(RefusedChallenge) as refused:
            await Browser(deployment, server).challenge("sign_in", userId=user_id)
        assert refused.value.code == "auth_failed", "no session yet"

        await page.challenge("create_session")  # interrupted: the page was closed
        deployment.clock.ahead += 30 * MINUTES
        await page.create_session("ada")
        registered = dict(deployment.accounts.registered)
        with pytest.raises(Refusal) as conflict:
            await page.create_session("ada")
        assert (conflict.value.code, conflict.value.retry) == ("conflict", False)
        assert deployment.accounts.registered == registered
        assert (await Browser(deployment, server).sign_in("ada", user_id)).reply.user_id == user_id


async def test_over_a_connection_too() -> None:
    async with deployed() as deployment, deployment.server() as server:
        connection = server.connect()
        challenge = await connection.ask("challenge", provider="worldid", purpose="sign_up")
        result = deployment.prove("ada", "sign_up", challenge)
        credential = {"provider": "worldid", "purpose": "sign_up", "challengeId": challenge["challengeId"]}
        welcome = await connection.ask("hello", credential=credential | {"result": result, "displayName": "Ada"})
        assert (welcome["type"], welcome["displayName"]) == ("welcome", "Ada")
        challenge = await connection.ask("challenge", provider="worldid", purpose="create_session")
        result = deployment.prove("ada", "create_session", challenge)
        credential = {"provider": "worldid", "purpose": "create_session", "challengeId": challenge["challengeId"]}
        again = await connection.ask("hello", credential=credential | {"result": result})
        assert (again["type"], again["userId"]) == ("welcome", welcome["userId"])
        assert again["token"] != welcome["token"]


async def test_a_session_is_for_who_is_signed_in_and_made_by_world_id() -> None:
    async with deployed() as deployment, deployment.server() as server:
        with pytest.raises(RefusedChallenge) as refused:
            await Browser(deployment, server).challenge("create_session")
        assert refused.value.code == "unauthenticated"
        named = await server.sign_in("a guest")
        reply = await named.ask("challenge", provider="worldid", purpose="create_session")
        assert reply["code"] == "auth_failed"
        assert "not made with World ID" in reply["message"]


async def test_who_is_forgotten_and_comes_back_is_somebody_new() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        old = await page.member("ada")
        await server.gateway.execute(ForgetMe(), bearer=page.token, address=ADDRESS)
        assert deployment.accounts.registered == {}
        page.token = None

        with pytest.raises(RefusedChallenge):
            await page.challenge("sign_in", userId=old)
        deployment.clock.ahead += 11 * MINUTES
        with pytest.raises(RefusedByWorld) as refused:
            await page.sign_up("ada")
        assert refused.value.code == "nullifier_replayed", "World's app makes no second one for a year"
        deployment.clock.ahead += YEAR
        new = await page.sign_up("ada")
        assert new.created
        assert new.reply.user_id != old
        assert (await page.create_session("ada")).reply.user_id == new.reply.user_id
        assert (await Browser(deployment, server).sign_in("ada", new.reply.user_id)).reply.user_id == new.reply.user_id


async def test_forgotten_in_the_ten_minutes_in_which_the_proof_can_be_repeated() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        old = await page.member("ada")
        await server.gateway.execute(ForgetMe(), bearer=page.token, address=ADDRESS)
        page.token = None
        new = await page.sign_up("ada", displayName="New")
        assert new.created
        assert (new.reply.user_id == old, new.reply.display_name) == (False, "New")


async def test_a_sign_up_without_a_name_is_not_lost() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        result = deployment.prove("ada", "sign_up", challenge)
        with pytest.raises(Refusal) as refused:
            await page.answer("sign_up", challenge, result, displayName="\n")
        assert refused.value.code == "bad_request", "the proof is not used up by a slip of the pen"
        assert (await page.answer("sign_up", challenge, result)).reply.display_name == "Anonymous"


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.SLOW, Fault.LATE, Fault.HTML, Fault.ERROR])
async def test_a_portal_in_trouble_costs_nobody_the_proof(fault: Fault) -> None:
    async with deployed(timeout=0.3) as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        result = deployment.prove("ada", "sign_up", challenge)
        deployment.simulator.faults.fault = fault
        with trio.fail_after(5), pytest.raises(Refusal) as refused:
            await page.answer("sign_up", challenge, result)
        assert (refused.value.code, refused.value.retry) == ("auth_unavailable", True)
        assert deployment.accounts.users == {}
        deployment.simulator.faults.fault = None
        assert (await page.answer("sign_up", challenge, result)).created


async def test_a_database_in_trouble_costs_nobody_the_proof() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        user_id = await page.member("ada")
        page.token = None
        challenge = await page.challenge("sign_in", userId=user_id)
        result = deployment.prove("ada", "sign_in", challenge)
        deployment.accounts.state = "down"
        with pytest.raises(Refusal) as refused:
            await page.answer("sign_in", challenge, result, userId=user_id)
        assert (refused.value.code, refused.value.retry) == ("persistence_unavailable", True)
        deployment.accounts.state = "up"
        assert (await page.answer("sign_in", challenge, result, userId=user_id)).reply.user_id == user_id


async def test_what_the_person_sees_where_the_operator_has_to_act() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        result = deployment.prove("ada", "sign_up", challenge)
        party = deployment.simulator.world.party(deployment.settings.rp_id)
        assert party is not None
        inactive = dict.fromkeys(party.statuses, "deactivated")
        deployment.simulator.world.register(
            RelyingParty(rp_id=party.rp_id, app_id=party.app_id, signer=party.signer, statuses=inactive)
        )
        with pytest.raises(Refusal, match="registration is not active") as refused:
            await page.answer("sign_up", challenge, result)
        assert refused.value.code == "auth_failed"


# World ID 3.0


async def test_legacy_proofs_are_refused_unless_they_are_configured() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        result = deployment.prove("ada", "sign_up", challenge | {"legacyProofs": True}, legacy=True)
        with pytest.raises(Refusal, match="Update World App"):
            await page.answer("sign_up", challenge, result)
        assert deployment.accounts.users == {}


async def test_legacy_proofs_never_make_a_second_account_silently() -> None:
    async with deployed(legacy_proofs=True) as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        for legacy in (True, False):
            with pytest.raises(Refusal, match="say that you are new here"):
                await page.sign_up("ada", legacy=legacy)
        assert deployment.accounts.users == {}
        old = await page.sign_up("ada", legacy=True, newAccount=True)
        assert old.created
        page.token = None
        again = await page.sign_up("ada", legacy=True)
        assert (again.created, again.reply.user_id) == (False, old.reply.user_id), (
            "a 3.0 proof signs in again and again"
        )
        with pytest.raises(Refusal, match="say that you are new here"):
            await Browser(deployment, server).sign_up("ada")
        assert len(deployment.accounts.users) == 1


async def test_a_legacy_account_goes_on_with_a_session() -> None:
    async with deployed(legacy_proofs=True) as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        user_id = (await page.sign_up("ada", legacy=True, newAccount=True)).reply.user_id
        await page.create_session("ada")
        assert (await Browser(deployment, server).sign_in("ada", user_id)).reply.user_id == user_id
