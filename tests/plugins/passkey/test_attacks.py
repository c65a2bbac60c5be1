"""What an attacker sends in place of an honest answer. Each is refused, and changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fido2 import cbor
from fido2.cose import ES384, RS256

from evanesce.testing.client import CommandRefused
from tests.plugins.passkey.clients import add_device, ask, get, passkey_server, post, send, sign_in, sign_up
from tests.plugins.passkey.software_key import AT, ED, UP, UV, SoftwareKey, encoded

Options = Mapping[str, Any]
Answer = Callable[[SoftwareKey, Options], dict[str, Any]]


def changed(key: SoftwareKey, options: Options, cose: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a new key whose public key is another one."""
    key.cose = cose
    return key.create(options)


def no_curve_point() -> dict[int, Any]:
    return {1: 2, 3: -7, -1: 1, -2: b"\x01" * 32, -3: b"\x02" * 32}


NEW_KEYS: dict[str, Answer] = {
    "another origin": lambda key, options: key.create(options, origin="https://evil.example"),
    "the origin without TLS": lambda key, options: key.create(options, origin="http://chat.example"),
    "a subdomain": lambda key, options: key.create(options, origin="https://sub.chat.example"),
    "another port": lambda key, options: key.create(options, origin="https://chat.example:8443"),
    "an origin that is no text": lambda key, options: key.create(options, client={"origin": ["https://chat.example"]}),
    "another relying party": lambda key, options: key.create(options, rp_id="evil.example"),
    "another challenge": lambda key, options: key.create({**options, "challenge": encoded(b"x" * 32)}),
    "no challenge": lambda key, options: key.create(options, client={"challenge": ""}),
    "the ceremony of a sign-in": lambda key, options: key.create(options, client={"type": "webauthn.get"}),
    "a frame in another page": lambda key, options: key.create(options, client={"crossOrigin": True}),
    "no user present": lambda key, options: key.create(options, flags=UV | AT),
    "no key": lambda key, options: key.create(options, flags=UP | UV),
    "an extension that is not there": lambda key, options: key.create(options, flags=UP | UV | AT | ED),
    "no algorithm": lambda key, options: changed(key, options, {1: 2}),
    "the algorithm none": lambda key, options: changed(key, options, {1: 2, 3: 0}),
    "an algorithm as text": lambda key, options: changed(key, options, {1: 2, 3: "ES256"}),
    "an algorithm that was not asked for": lambda key, options: changed(
        key, options, ES384.from_cryptography_key(ec.generate_private_key(ec.SECP384R1()).public_key())
    ),
    "RSA with SHA-1": lambda key, options: changed(
        key,
        options,
        {**RS256.from_cryptography_key(rsa.generate_private_key(65537, 2048).public_key()), 3: -65535},
    ),
    "no point of the curve": lambda key, options: changed(key, options, no_curve_point()),
    "another curve": lambda key, options: changed(key, options, {**key.cose, -1: 2}),
    "a key without numbers": lambda key, options: changed(key, options, {1: 2, 3: -7, -1: 1}),
    "an RSA key too long": lambda key, options: changed(
        key, options, {1: 3, 3: -257, -1: b"\xff" * 4_000, -2: b"\x01\x00\x01"}
    ),
    "an even RSA exponent": lambda key, options: changed(key, options, {1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\x02"}),
    "a long RSA exponent": lambda key, options: changed(
        key, options, {1: 3, 3: -257, -1: b"\xff" * 384, -2: b"\x7f" + b"\xff" * 300}
    ),
    "a public key that is a list": lambda key, options: changed(key, options, [1, 2]),  # type: ignore[arg-type]
    "CBOR of arrays in arrays": lambda key, options: key.create(options, attestation=b"\x81" * 8_000),
    "CBOR of maps in maps": lambda key, options: key.create(options, attestation=b"\xa1\x01" * 4_000),
    "an array of 2^64 elements": lambda key, options: key.create(options, attestation=b"\x9b" + b"\xff" * 8),
    "a map of 2^32 entries": lambda key, options: key.create(options, attestation=b"\xba" + b"\xff" * 4 + b"\x01" * 99),
    "text of 2^64 bytes": lambda key, options: key.create(options, attestation=b"\x7b" + b"\xff" * 8),
    "a list as a key of a map": lambda key, options: key.create(options, attestation=b"\xa1\x80\x01"),
    "an unknown kind of CBOR": lambda key, options: key.create(options, attestation=b"\xc0\x01"),
    "a thousand small elements": lambda key, options: key.create(
        options, attestation=b"\x99\x1f\x00" + b"\x01" * 7_936
    ),
    "CBOR that ends": lambda key, options: key.create(options, attestation=b"\xa3"),
    "CBOR with more behind it": lambda key, options: key.create(
        options, attestation=cbor.encode({"fmt": "none"}) + b"\x00"
    ),
    "no authenticator data": lambda key, options: key.create(
        options, attestation=cbor.encode({"fmt": "none", "attStmt": {}})
    ),
    "authenticator data as text": lambda key, options: key.create(
        options, attestation=cbor.encode({"fmt": "none", "attStmt": {}, "authData": "x" * 37})
    ),
    "client data that is no JSON": lambda key, options: with_response(
        key.create(options), clientDataJSON=encoded(b"{")
    ),
    "client data that is no object": lambda key, options: with_response(
        key.create(options), clientDataJSON=encoded(b"[1]")
    ),
    "client data that is deep": lambda key, options: with_response(
        key.create(options), clientDataJSON=encoded(b"[" * 3_000)
    ),
    "client data that is no UTF-8": lambda key, options: with_response(
        key.create(options), clientDataJSON=encoded(b"\xff\xfe")
    ),
    "the id of another key": lambda key, options: {**key.create(options), "id": SoftwareKey().id},
}


def with_response(answer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**answer, "response": {**answer["response"], **fields}}


@pytest.mark.parametrize("name", NEW_KEYS)
async def test_a_new_key_that_is_not_what_was_asked_for(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with passkey_server() as server:
        challenge = await ask(server, "sign_up", displayName="Mallory")
        key = SoftwareKey()
        with caplog.at_level(logging.INFO), pytest.raises(CommandRefused) as refused:
            await send(server, challenge, NEW_KEYS[name](key, challenge["publicKey"]))
        assert refused.value.code == "auth_failed"
        assert server.shared[1].users == {}
        assert server.log.plugin_faults == []
        assert key.credential_id.hex() not in caplog.text
        with pytest.raises(CommandRefused):
            await send(server, challenge, SoftwareKey().create(challenge["publicKey"]))
        assert server.shared[1].users == {}, "the challenge is used up"


SIGN_INS: dict[str, Answer] = {
    "another origin": lambda key, options: key.get(options, origin="https://evil.example"),
    "another relying party": lambda key, options: key.get(options, rp_id="evil.example"),
    "another challenge": lambda key, options: key.get({**options, "challenge": encoded(b"x" * 32)}),
    "the ceremony of a new key": lambda key, options: key.get(options, client={"type": "webauthn.create"}),
    "no ceremony": lambda key, options: key.get(options, client={"type": None}),
    "a frame in another page": lambda key, options: key.get(options, client={"crossOrigin": True}),
    "a frame, in another notation": lambda key, options: key.get(options, client={"crossOrigin": "true"}),
    "no user present": lambda key, options: key.get(options, flags=UV),
    "no signature": lambda key, options: key.get(options, signature="AA"),
    "a signature of something else": lambda key, options: key.get(options, signature=encoded(key.sign(b"else"))),
    "a signature of another key": lambda key, options: key.get(options, signature=encoded(SoftwareKey().sign(b""))),
    "data of another signature": lambda key, options: key.get(
        options, authenticatorData=key.get(options, flags=UP)["response"]["authenticatorData"]
    ),
    "short data": lambda key, options: key.get(options, authenticatorData="AAAA"),
    "long data": lambda key, options: key.get(options, authenticatorData=encoded(b"\x01" * 1_500)),
    "the handle of nobody": lambda key, options: key.get(options, userHandle=encoded(b"0" * 16)),
    "a handle of another form": lambda key, options: key.get(options, userHandle=encoded(b"\xff" * 16)),
    "a handle that is no base64url": lambda key, options: key.get(options, userHandle="A"),
    "no handle": lambda key, options: key.get(options, userHandle=None),
    "an unknown key": lambda key, options: {**key.get(options), "id": SoftwareKey().id},
}


@pytest.mark.parametrize("name", SIGN_INS)
async def test_a_sign_in_that_proves_nothing(name: str) -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        before = dict(server.shared[1].registered)
        challenge = await ask(server, "sign_in")
        with pytest.raises(CommandRefused) as refused:
            await send(server, challenge, SIGN_INS[name](key, challenge["publicKey"]))
        assert refused.value.code == "auth_failed"
        assert server.shared[1].registered == before
        assert server.log.plugin_faults == []
        assert (await sign_in(server, key)).user_id == ada.user_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clientDataJSON", "A" * 4_097),
        ("attestationObject", "A" * 11_001),
        ("authenticatorData", "A" * 2_049),
        ("signature", "A" * 1_025),
        ("userHandle", "A" * 87),
        ("clientDataJSON", "not base64url!"),
        ("clientDataJSON", ""),
        ("clientDataJSON", None),
        ("signature", 5),
        ("signature", "AAAA\n"),
        ("userHandle", "\u0410\u0410"),
    ],
)
async def test_what_is_too_long_or_of_another_form_is_not_parsed(field: str, value: object) -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        await sign_up(server, key)
        challenge = await ask(server, "sign_in")
        with pytest.raises(CommandRefused) as refused:
            await send(server, challenge, with_response(key.get(challenge["publicKey"]), **{field: value}))
        assert refused.value.code == "bad_request"
        assert f"passkey.response.{field}" in refused.value.reply["field"]


async def test_the_key_of_one_account_opens_no_other() -> None:
    key, stranger = SoftwareKey(), SoftwareKey()
    async with passkey_server() as server:
        ada, mallory = await sign_up(server, key, "Ada"), await sign_up(server, stranger, "Mallory")
        assert key.handle is not None
        challenge = await ask(server, "sign_in")
        with pytest.raises(CommandRefused):
            await send(server, challenge, stranger.get(challenge["publicKey"], userHandle=encoded(key.handle)))
        taken = SoftwareKey()
        taken.credential_id = key.credential_id  # the id of Ada's key, which Mallory has seen
        await add_device(server, mallory, taken)
        challenge = await ask(server, "sign_in")
        with pytest.raises(CommandRefused):
            await send(server, challenge, taken.get(challenge["publicKey"], userHandle=encoded(key.handle)))
        assert (await sign_in(server, key)).user_id == ada.user_id
        assert (await sign_in(server, taken)).user_id == mallory.user_id


async def test_a_challenge_is_for_one_purpose_and_one_account() -> None:
    key, stranger = SoftwareKey(), SoftwareKey()
    async with passkey_server() as server:
        ada, mallory = await sign_up(server, key, "Ada"), await sign_up(server, stranger, "Mallory")
        new = SoftwareKey()

        async def refuse(challenge: dict[str, Any], passkey: dict[str, Any], by: str | None = None) -> None:
            with pytest.raises(CommandRefused) as refused:
                await send(server, challenge, passkey, by=by)
            assert refused.value.code in ("auth_failed", "forbidden")

        for_ada = await ask(server, "add_device", by=ada)
        await refuse(for_ada, new.create(for_ada["publicKey"]), by=mallory.token)
        for_ada = await ask(server, "add_device", by=ada)
        await refuse(for_ada, new.create(for_ada["publicKey"]))
        enter = await ask(server, "sign_in")
        await refuse(enter, new.create({**enter["publicKey"], "user": for_ada["publicKey"]["user"]}))
        up = await ask(server, "sign_up", displayName="Eve")
        await refuse(up, key.get(up["publicKey"]))
        more = await ask(server, "add_device", by=ada)
        await refuse(more, key.get(more["publicKey"]), by=ada.token)
        own = await ask(server, "sign_in", by=ada)
        await refuse(own, stranger.get(own["publicKey"]))
        up = await ask(server, "sign_up", displayName="Eve")
        await refuse(up, new.create(up["publicKey"]), by=ada.token)
        other = await ask(server, "sign_in")
        await refuse(other, stranger.get(other["publicKey"]), by=ada.token)
        assert len(server.shared[1].users) == 2
        for client in (ada, mallory):
            assert len((await get(server, client))["devices"]) == 1


async def test_an_answer_is_accepted_once() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        await sign_up(server, key)
        challenge = await ask(server, "sign_in")
        answer = key.get(challenge["publicKey"])
        await send(server, challenge, answer)
        with pytest.raises(CommandRefused) as refused:
            await send(server, challenge, answer)
        assert refused.value.code == "auth_failed"


async def test_the_statement_of_a_maker_is_ignored() -> None:
    async with passkey_server() as server:
        challenge = await ask(server, "sign_up", displayName="Ada")
        key = SoftwareKey()
        statement = {"alg": -7, "sig": b"forged", "x5c": [b"x" * 2_000]}
        await send(server, challenge, key.create(challenge["publicKey"], statement=statement))
        await sign_in(server, key)


async def test_the_database_has_nothing_by_which_somebody_could_sign_in() -> None:
    key = SoftwareKey()
    async with passkey_server() as server:
        ada = await sign_up(server, key)
        codes = (await post(server, "recovery-codes", ada))["recoveryCodes"]
        [kept] = server.shared[1].registered.values()
        stored = json.loads(kept.value)
        assert len(stored["recovery"]["hashes"]) == 10
        for code in codes:
            secret = code.replace("-", "")[16:]
            assert secret not in kept.value
            assert secret.lower() not in kept.value
        assert "aaguid" not in kept.value.lower()
        assert kept.value not in repr(kept)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"deviceId": 5}', b'{"deviceId": "../x"}', b"[" * 900, b"\xff", b" " * 9_999]
)
async def test_a_request_of_another_form(body: bytes) -> None:
    async with passkey_server() as server:
        ada = await sign_up(server, SoftwareKey())
        response = await server.http("POST", "/passkey/devices/remove", by=ada, body=body)
        assert response.status == 400
        assert server.log.plugin_faults == []
