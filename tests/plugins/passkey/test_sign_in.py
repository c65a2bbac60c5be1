"""Accounts with passkeys: signing up and in, devices, recovery codes, and who loses what when."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.testing.client import CommandRefused, MemoryClient
from evanesce.testing.plugins import PluginServer
from evanesce_plugins.passkey.keyring import MOST_DEVICES, MOST_SIGN_INS
from tests.plugins.passkey.clients import (
    add_device,
    ask,
    get,
    passkey_server,
    post,
    recover,
    send,
    sign_in,
    sign_up,
)
from tests.plugins.passkey.software_key import AT, UP, SoftwareKey


async def refused(work: Awaitable[Any]) -> str:
    with pytest.raises(CommandRefused) as error:
        await work
    return error.value.code


async def is_signed_out(server: PluginServer, client: MemoryClient) -> bool:
    """Return whether the token of a client is worthless."""
    reply = await server.connect().ask("hello", token=client.token)
    return reply.get("code") == "invalid_token"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
@pytest.mark.parametrize("counter", [None, 0])
async def test_a_key_signs_in_to_its_account(algorithm: str, counter: int | None) -> None:
    key, other = SoftwareKey(algorithm, counter=counter), SoftwareKey(algorithm)
    async with passkey_server() as server:
        ada, bob = await sign_up(server, key, "Ada"), await sign_up(server, other, "Bob")
        assert (ada.name, bob.name) == ("Ada", "Bob")
        for _ in range(3):
            again = await sign_in(server, key)
            assert (again.user_id, again.name) == (ada.user_id, "Ada")
        assert (await sign_in(server, other)).user_id == bob.user_id != ada.user_id


async def test_what_a_browser_is_asked_for() -> None:
    key = SoftwareKey()
    async with passkey_server({"name": "The chat"}) as server:
        challenge = await ask(server, "sign_up", displayName=" Ada ")
        options = challenge["publicKey"]
        assert options["rp"] == {"id": "chat.example", "name": "The chat"}
        assert options["user"]["name"] == options["user"]["displayName"] == "Ada"
        assert options["attestation"] == "none"
        assert options["authenticatorSelection"]["residentKey"] == "required"
        assert options["authenticatorSelection"]["userVerification"] == "preferred"
        assert [one["alg"] for one in options["pubKeyCredParams"]] == [-7, -8, -257]
        ada = await send(server, challenge, key.create(options))
        anybody = (await ask(server, "sign_in"))["publicKey"]
        assert "allowCredentials" not in anybody
        assert (anybody["rpId"], anybody["userVerification"]) == ("chat.example", "preferred")
        own = (await ask(server, "sign_in", by=ada))["publicKey"]
        assert [one["id"] for one in own["allowCredentials"]] == [key.id]
        more = (await ask(server, "add_device", by=ada))["publicKey"]
        assert [one["id"] for one in more["excludeCredentials"]] == [key.id]
        assert more["user"] == options["user"]
        challenges = {one["challenge"] for one in (options, anybody, own, more)}
        assert len(challenges) == 4
        profile = await ada.command("profile")
        assert key.handle is not None
        assert profile["accountCode"].encode() == key.handle, "it names the account, and nothing else of the person"


async def test_a_setting_requires_that_devices_verify_their_owners() -> None:
    key = SoftwareKey()
    async with passkey_server({"user_verification": "required"}) as server:
        challenge = await ask(server, "sign_up", displayName="Ada")
        assert challenge["publicKey"]["authenticatorSelection"]["userVerification"] == "required"
        assert (
            await refused(send(server, challenge, key.create(challenge["publicKey"], flags=UP | AT))) == "auth_failed"
        )
        await sign_up(server, key)
        challenge = await ask(server, "sign_in")
        assert await refused(send(server, challenge, key.get(challenge["publicKey"], flags=UP))) == "auth_failed"
        await sign_in(server, key)


async def test_a_signature_counter_only_grows(caplog: pytest.LogCaptureFixture) -> None:
    key = SoftwareKey(counter=10)
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        await sign_in(server, key)
        copied = key.counter
        await sign_in(server, key)
        for stale in (copied, 5, -1):
            key.counter = stale
            with caplog.at_level(logging.WARNING), pytest.raises(CommandRefused, match="copied"):
                await sign_in(server, key)
        [line] = {record.getMessage() for record in caplog.records if "has not grown" in record.getMessage()}
        [device] = (await get(server, ada))["devices"]
        assert device["deviceId"] in line
        assert key.id not in caplog.text
        assert key.credential_id.hex() not in caplog.text
        key.counter = 100
        await sign_in(server, key)


async def test_of_two_sign_ins_with_one_counter_one_succeeds() -> None:
    key = SoftwareKey(counter=10)
    async with passkey_server() as one, passkey_server(beside=one) as two:
        await sign_up(one, key)
        outcomes: list[str] = []

        async def enter(server: PluginServer) -> None:
            challenge = await ask(server, "sign_in")
            key.counter = 20
            try:
                await send(server, challenge, key.get(challenge["publicKey"]))
            except CommandRefused as error:
                outcomes.append(error.code)
            else:
                outcomes.append("welcome")

        async with trio.open_nursery() as nursery:
            for server in (one, two, one, two):
                nursery.start_soon(enter, server)
        assert sorted(outcomes) == ["auth_failed"] * 3 + ["welcome"]


async def test_the_devices_of_an_account() -> None:
    phone, laptop = SoftwareKey(), SoftwareKey("EdDSA")
    async with passkey_server() as server:
        first = await sign_up(server, phone, deviceName="Telephone")
        second = await add_device(server, first, laptop, deviceName="Laptop of  Ada")
        assert second.user_id == first.user_id
        listed = await get(server, first)
        assert [(one["name"], one["current"]) for one in listed["devices"]] == [
            ("Telephone", True),
            ("Laptop of Ada", False),
        ]
        assert [one["current"] for one in (await get(server, second))["devices"]] == [False, True]
        assert {len(one["added"]) for one in listed["devices"]} == {len("2026-12-01")}, "a day, no time"
        assert (await sign_in(server, laptop)).user_id == first.user_id

        third = await sign_in(server, phone)
        [lost, kept] = [one["deviceId"] for one in listed["devices"]]
        left = await post(server, "devices/remove", second, deviceId=lost)
        assert [one["deviceId"] for one in left["devices"]] == [kept]
        assert (await post(server, "devices/remove", second, deviceId=lost))["devices"] == left["devices"]
        assert await is_signed_out(server, first)
        assert await is_signed_out(server, third)
        assert not await is_signed_out(server, second)
        assert await refused(sign_in(server, phone)) == "auth_failed"
        assert (await sign_in(server, laptop)).user_id == second.user_id


async def test_the_last_way_to_sign_in_stays() -> None:
    phone, laptop = SoftwareKey(), SoftwareKey()
    async with passkey_server() as server, passkey_server(beside=server) as beside:
        ada = await sign_up(server, phone)
        [only] = (await get(server, ada))["devices"]
        answer = await post(server, "devices/remove", ada, deviceId=only["deviceId"])
        assert (answer["status"], answer["code"]) == (409, "conflict")
        again = await add_device(server, ada, laptop)
        ids = [one["deviceId"] for one in (await get(server, ada))["devices"]]
        answers: list[int] = []

        async def remove(where: PluginServer, by: MemoryClient, device_id: str) -> None:
            answers.append((await post(where, "devices/remove", by, deviceId=device_id))["status"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove, server, ada, ids[1])
            nursery.start_soon(remove, beside, again, ids[0])
        [left] = [key for key in (phone, laptop) if await _can_sign_in(server, key)]
        assert 200 in answers
        key = await sign_in(server, left)
        codes = (await post(server, "recovery-codes", key))["recoveryCodes"]
        [last] = (await get(server, key))["devices"]
        assert (await post(server, "devices/remove", key, deviceId=last["deviceId"]))["devices"] == []
        assert await is_signed_out(server, key)
        back = await recover(server, codes[0])
        assert back.user_id == ada.user_id
        new = SoftwareKey()
        await add_device(server, back, new)
        assert (await sign_in(server, new)).user_id == ada.user_id


async def _can_sign_in(server: PluginServer, key: SoftwareKey) -> bool:
    try:
        await sign_in(server, key)
    except CommandRefused:
        return False
    return True


async def test_devices_that_are_added_at_once_are_all_there_and_bounded() -> None:
    async with passkey_server() as server, passkey_server(beside=server) as beside:
        ada = await sign_up(server, SoftwareKey())
        outcomes: list[str] = []

        async def add(where: PluginServer) -> None:
            try:
                await add_device(where, await _same(where, ada), SoftwareKey())
            except CommandRefused as error:
                outcomes.append(error.code)
            else:
                outcomes.append("added")

        async with trio.open_nursery() as nursery:
            for number in range(MOST_DEVICES + 2):
                nursery.start_soon(add, (server, beside)[number % 2])
        assert set(outcomes) <= {"added", "conflict", "auth_unavailable"}
        while len((await get(server, ada))["devices"]) < MOST_DEVICES:
            await add_device(server, ada, SoftwareKey())
        assert await refused(add_device(server, ada, SoftwareKey())) == "conflict"


async def _same(server: PluginServer, client: MemoryClient) -> MemoryClient:
    """Return another connection of the same sign-in."""
    other = server.connect(bearer=client.token)
    await other.command("hello")
    other.token = client.token
    return other


async def test_one_device_is_added_once() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        assert await refused(add_device(server, ada, key)) == "conflict"
        assert len((await get(server, ada))["devices"]) == 1


async def test_a_device_has_so_many_sign_ins_and_the_oldest_ends() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        first = await sign_up(server, key)
        later = [await sign_in(server, key) for _ in range(MOST_SIGN_INS - 1)]
        assert not await is_signed_out(server, first)
        await sign_in(server, key)
        assert await is_signed_out(server, first)
        assert not await is_signed_out(server, later[0])


async def test_a_recovery_code_works_once() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        answer = await post(server, "recovery-codes", ada)
        codes = answer["recoveryCodes"]
        assert answer["status"] == 200
        assert len(set(codes)) == 10
        assert (await get(server, ada))["recoveryCodesLeft"] == 10
        spoken = codes[0].lower().replace("-", " ").replace("0", "o").replace("1", "l")
        assert (await recover(server, spoken)).user_id == ada.user_id
        assert (await get(server, ada))["recoveryCodesLeft"] == 9
        assert await refused(recover(server, codes[0])) == "auth_failed"
        outcomes: list[str] = []

        async def enter() -> None:
            try:
                await recover(server, codes[1])
            except CommandRefused as error:
                outcomes.append(error.code)
            else:
                outcomes.append("welcome")

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(enter)
        assert sorted(outcomes) == ["auth_failed", "auth_failed", "welcome"]


async def test_new_codes_replace_the_old_ones_and_end_other_sign_ins_by_them() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        old = (await post(server, "recovery-codes", ada))["recoveryCodes"]
        thief, owner = await recover(server, old[0]), await recover(server, old[1])
        new = (await post(server, "recovery-codes", owner))["recoveryCodes"]
        assert await is_signed_out(server, thief)
        assert not await is_signed_out(server, owner)
        assert not await is_signed_out(server, ada)
        assert await refused(recover(server, old[2])) == "auth_failed"
        assert (await recover(server, new[0])).user_id == ada.user_id


async def test_attempts_with_recovery_codes_are_limited_for_each_account(clock: MockClock) -> None:
    keys = SoftwareKey(), SoftwareKey()
    async with passkey_server() as server:
        ada, bob = [await sign_up(server, key) for key in keys]
        codes = [(await post(server, "recovery-codes", one))["recoveryCodes"] for one in (ada, bob)]
        wrong = codes[0][0][:-4] + ("0000" if codes[0][0][-4:] != "0000" else "1111")
        assert [await refused(recover(server, wrong)) for _ in range(5)] == ["auth_failed"] * 5
        with pytest.raises(CommandRefused) as limited:
            await recover(server, codes[0][0])
        assert limited.value.code == "rate_limited"
        assert limited.value.retry_after is not None
        assert (await recover(server, codes[1][0])).user_id == bob.user_id, "the limit is that of an account"
        assert (await sign_in(server, keys[0])).user_id == ada.user_id, "devices still sign in"
        clock.jump(limited.value.retry_after)
        assert (await recover(server, codes[0][0])).user_id == ada.user_id


async def test_an_unknown_account_gets_the_answer_of_a_wrong_code() -> None:
    async with passkey_server() as server:
        ada = await sign_up(server, SoftwareKey())
        code = (await post(server, "recovery-codes", ada))["recoveryCodes"][0]
        messages = set[str]()
        for wrong in (code[:-4] + "ZZZZ", "ZZZZ" + code[4:]):
            with pytest.raises(CommandRefused) as error:
                await recover(server, wrong)
            messages.add(error.value.message)
        assert len(messages) == 1
        bare = await sign_up(server, SoftwareKey())
        account = (await bare.command("profile"))["accountCode"]
        with pytest.raises(CommandRefused) as error:
            await recover(server, account + "0" * 16)
        assert {error.value.message} == messages, "an account without codes says nothing else"


Change = Callable[[PluginServer, MemoryClient, str], Awaitable[str]]


async def _add(server: PluginServer, by: MemoryClient, device_id: str) -> str:
    return (await by.ask("challenge", provider="passkey", purpose="add_device")).get("code", "done")


async def _remove(server: PluginServer, by: MemoryClient, device_id: str) -> str:
    code: str = (await post(server, "devices/remove", by, deviceId=device_id)).get("code", "done")
    return code


async def _make(server: PluginServer, by: MemoryClient, device_id: str) -> str:
    code: str = (await post(server, "recovery-codes", by)).get("code", "done")
    return code


@pytest.mark.parametrize("change", [_add, _remove, _make])
async def test_an_old_token_alone_changes_nothing(change: Change, clock: MockClock) -> None:
    phone, laptop = SoftwareKey(), SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, phone)
        await add_device(server, ada, laptop)
        device_id = (await get(server, ada))["devices"][1]["deviceId"]
        clock.jump(601)
        stolen = await _same(server, ada)
        assert await change(server, stolen, device_id) == "auth_failed"
        stolen.token = (await stolen.command("refresh"))["token"]
        assert await change(server, await _same(server, stolen), device_id) == "auth_failed", "refreshed is not proved"
        assert len((await get(server, stolen))["devices"]) == 2
        confirmed = await ask(server, "sign_in", by=stolen)
        owner = await send(server, confirmed, phone.get(confirmed["publicKey"]), by=stolen.token)
        assert await change(server, owner, device_id) == "done"


async def test_nothing_is_told_or_changed_without_a_sign_in_by_a_passkey() -> None:
    async with passkey_server() as server:
        guest = await server.guest("Guest")
        assert (await get(server, None))["code"] == "unauthenticated"
        assert (await post(server, "devices/remove", None, deviceId="0" * 16))["code"] == "unauthenticated"
        assert (await post(server, "recovery-codes", None))["code"] == "unauthenticated"
        for answer in (await get(server, guest), await post(server, "recovery-codes", guest)):
            assert (answer["status"], answer["code"]) == (403, "forbidden")
        assert await refused(ask(server, "add_device")) == "unauthenticated"
        assert await refused(ask(server, "add_device", by=guest)) == "forbidden"


async def test_an_erased_account_leaves_no_key_and_no_code() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        codes = (await post(server, "recovery-codes", ada))["recoveryCodes"]
        account = (await ada.command("profile"))["accountCode"]
        await ada.command("forget_me")
        assert await server.repository.find_registration("passkey", account) is None
        assert await refused(sign_in(server, key)) == "auth_failed"
        assert await refused(recover(server, codes[0])) == "auth_failed"


async def test_a_sign_in_that_is_sent_again_after_a_lost_answer_is_the_same() -> None:
    key = SoftwareKey(counter=1)
    async with passkey_server() as server:
        repository = server.shared[1]
        ada = await sign_up(server, key)
        challenge = await ask(server, "sign_in")
        answer = key.get(challenge["publicKey"])
        stored = repository.user

        async def fail(user_id: str, sign_in_id: str | None = None) -> Any:
            repository.user = stored  # type: ignore[method-assign]
            repository.state = "down"
            try:
                return await stored(user_id, sign_in_id)
            finally:
                repository.state = "up"

        repository.user = fail  # type: ignore[method-assign]
        with pytest.raises(CommandRefused) as lost:
            await send(server, challenge, answer)
        assert lost.value.code == "persistence_unavailable"
        assert (await send(server, challenge, answer)).user_id == ada.user_id
        assert await refused(send(server, challenge, answer)) == "auth_failed"
