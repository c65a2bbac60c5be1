"""People sign up, sign out, sign in on another device and are forgotten; the simulated World verifies over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio

from evanesce.protocol.commands import ForgetMe, SignOut
from evanesce_plugins.worldid.simulator.portal import Fault
from evanesce_plugins.worldid.simulator.world import Refused as RefusedByWorld
from evanesce_plugins.worldid.simulator.world import RelyingParty
from tests.patience import PATIENCE
from tests.plugins.worldid.deployment import ADDRESS, Browser, Refusal, credential, deployed

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
                "sessionContext",
                "expiresAt",
                "legacyProofs",
            ),
        }
        for context in (challenge["rpContext"], challenge["sessionContext"]):
            assert context.keys() == {"rp_id", "nonce", "created_at", "expires_at", "signature"}
        assert challenge["rpContext"]["nonce"] != challenge["sessionContext"]["nonce"]
        assert challenge["action"] == deployment.settings.action
        assert challenge["legacyProofs"] is False
        again = await page.challenge("sign_up")
        assert again["signal"] != challenge["signal"]
        session = await page.challenge("sign_in", accountCode=await page.member("ada"))
        assert session.keys() == {
            *("challengeId", "appId", "rpId", "environment", "signal", "rpContext", "expiresAt", "sessionId")
        }


async def test_one_human_one_account_on_every_device() -> None:
    async with deployed() as deployment, deployment.server() as server:
        phone, laptop = Browser(deployment, server), Browser(deployment, server)
        new = await phone.sign_up("ada", displayName="Ada L.")
        assert new.created
        assert new.reply.display_name == "Ada L."
        user_id = new.reply.user_id
        [account] = deployment.accounts.users.values()
        assert re.fullmatch(r"[0-9a-f]{64}", account.world_id)

        code = (await phone.profile())["accountCode"]
        assert phone.token is not None
        await server.gateway.execute(SignOut(), bearer=phone.token, address=ADDRESS)
        signed_in = await laptop.sign_in("ada", code)
        assert (signed_in.created, signed_in.reply.user_id) == (False, user_id)
        third = await Browser(deployment, server).sign_in("ada", code)
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

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for page in pages:
                    nursery.start_soon(sign_up, page)
        assert sorted(created) == [False] * 7 + [True]
        assert len(ids) == len(deployment.accounts.users) == 1


async def test_the_first_session_stays() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        code = await page.member("ada")
        registered = dict(deployment.accounts.registered)
        again = await Browser(deployment, server).sign_up("ada")
        assert not again.created
        assert deployment.accounts.registered == registered
        assert (await Browser(deployment, server).sign_in("ada", code)).reply.user_id == again.reply.user_id


async def test_a_sign_up_without_a_session_makes_nothing_and_is_not_lost() -> None:
    """An account by 4.0 that has no session could never be signed in to again."""
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        alone = deployment.prove("ada", "sign_up", challenge)
        with pytest.raises(Refusal, match="sessionContext") as refused:
            await page.answer("sign_up", challenge, alone)
        assert refused.value.code == "bad_request"
        assert deployment.accounts.users == {}
        assert (await page.sign_up("ada")).created, "World's app makes the same proof again for ten minutes"


async def test_over_a_connection_too() -> None:
    async with deployed() as deployment, deployment.server() as server:
        connection = server.connect()
        challenge = await connection.ask("challenge", provider="worldid", purpose="sign_up")
        made = deployment.sign_up("ada", challenge)
        welcome = await connection.ask("hello", credential=credential("sign_up", challenge, displayName="Ada", **made))
        assert (welcome["type"], welcome["displayName"]) == ("welcome", "Ada")
        code = (await connection.ask("profile"))["accountCode"]
        challenge = await connection.ask("challenge", provider="worldid", purpose="sign_in", accountCode=code)
        result = deployment.prove("ada", "sign_in", challenge)
        again = await connection.ask(
            "hello", credential=credential("sign_in", challenge, accountCode=code, result=result)
        )
        assert (again["type"], again["userId"]) == ("welcome", welcome["userId"])
        assert again["token"] != welcome["token"]


async def test_who_is_forgotten_and_comes_back_is_somebody_new() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        old = await page.member("ada")
        await server.gateway.execute(ForgetMe(), bearer=page.token, address=ADDRESS)
        assert deployment.accounts.registered == {}
        page.token = None

        with pytest.raises(RefusedByWorld):
            await page.sign_in("ada", old)
        deployment.clock.ahead += 11 * MINUTES
        with pytest.raises(RefusedByWorld) as refused:
            await page.sign_up("ada")
        assert refused.value.code == "nullifier_replayed", "World's app makes no second one for a year"
        deployment.clock.ahead += YEAR
        new = await page.sign_up("ada")
        assert new.created
        code = (await page.profile())["accountCode"]
        assert code != old
        assert (await Browser(deployment, server).sign_in("ada", code)).reply.user_id == new.reply.user_id


async def test_forgotten_in_the_ten_minutes_in_which_the_proof_can_be_repeated() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        old = await page.member("ada")
        await server.gateway.execute(ForgetMe(), bearer=page.token, address=ADDRESS)
        page.token = None
        new = await page.sign_up("ada", displayName="New")
        assert new.created
        assert new.reply.display_name == "New"
        assert (await page.profile())["accountCode"] != old


async def test_a_sign_up_without_a_name_is_not_lost() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        made = deployment.sign_up("ada", challenge)
        with pytest.raises(Refusal) as refused:
            await page.answer("sign_up", challenge, **made, displayName="\n")
        assert refused.value.code == "bad_request", "the proof is not used up by a slip of the pen"
        assert (await page.answer("sign_up", challenge, **made)).reply.display_name == "Anonymous"


async def answered_in_time(page: Browser, *arguments: Any, **fields: Any) -> Any:
    """Answer a challenge, again as long as the refusal says so: the portal's short time-out may pass on its own."""
    while True:
        try:
            return await page.answer(*arguments, **fields)
        except Refusal as refused:
            if (refused.code, refused.retry) != ("auth_unavailable", True):
                raise


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.SLOW, Fault.LATE, Fault.HTML, Fault.ERROR])
async def test_a_portal_in_trouble_costs_nobody_the_proof(fault: Fault) -> None:
    async with deployed(timeout=0.3) as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        made = deployment.sign_up("ada", challenge)
        deployment.simulator.faults.fault = fault
        with trio.fail_after(PATIENCE), pytest.raises(Refusal) as refused:
            await page.answer("sign_up", challenge, **made)
        assert (refused.value.code, refused.value.retry) == ("auth_unavailable", True)
        assert deployment.accounts.users == {}
        deployment.simulator.faults.fault = None
        with trio.fail_after(60):
            assert (await answered_in_time(page, "sign_up", challenge, **made)).created


async def test_a_database_in_trouble_costs_nobody_the_proof() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        code = await page.member("ada")
        page.token = None
        challenge = await page.challenge("sign_in", accountCode=code)
        result = deployment.prove("ada", "sign_in", challenge)
        deployment.accounts.state = "down"
        with pytest.raises(Refusal) as refused:
            await page.answer("sign_in", challenge, result, accountCode=code)
        assert (refused.value.code, refused.value.retry) == ("persistence_unavailable", True)
        deployment.accounts.state = "up"
        [account] = deployment.accounts.users
        assert (await page.answer("sign_in", challenge, result, accountCode=code)).reply.user_id == account


async def test_what_the_person_sees_where_the_operator_has_to_act() -> None:
    async with deployed() as deployment, deployment.server() as server:
        page = Browser(deployment, server)
        challenge = await page.challenge("sign_up")
        made = deployment.sign_up("ada", challenge)
        party = deployment.simulator.world.party(deployment.settings.rp_id)
        assert party is not None
        inactive = dict.fromkeys(party.statuses, "deactivated")
        deployment.simulator.world.register(
            RelyingParty(rp_id=party.rp_id, app_id=party.app_id, signer=party.signer, statuses=inactive)
        )
        with pytest.raises(Refusal, match="registration is not active") as refused:
            await page.answer("sign_up", challenge, **made)
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
        old = await page.sign_up("ada", legacy=True, session=False, newAccount=True)
        assert "accountCode" not in await page.profile(), "there is nothing yet by which a code could sign in"
        again = await page.sign_up("ada", legacy=True)  # signed in, and with an app that knows both
        assert (again.created, again.reply.user_id) == (False, old.reply.user_id)
        code = (await page.profile())["accountCode"]
        assert (await Browser(deployment, server).sign_in("ada", code)).reply.user_id == old.reply.user_id
