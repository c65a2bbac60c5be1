"""Which ID tokens sign in, and how each other one is refused."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from evanesce.errors import AuthFailed
from evanesce_plugins.oidc.authenticator import NAMELESS
from evanesce_plugins.oidc.id_token import TOKEN_CHARACTERS
from evanesce_plugins.oidc.issuer import KEPT_SECONDS, RENEW_SECONDS
from tests.plugins.oidc.local_issuer import CLIENT, KEYS, OTHER_RSA_KEY, RSA_KEY, LocalIssuer, public
from tests.plugins.oidc.server import Clock, server_of

Make = Callable[[LocalIssuer, str], str]

SKEW = 60
PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
SHARED_SECRET = "c" * 64


def segment(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: Any, claims: Any) -> str:
    """Return a token with any header and claims, with a true signature by the issuer's RSA key."""
    head = f"{segment(header)}.{segment(claims)}"
    return f"{head}.{segment(RSA_KEY.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def with_claims(**changes: Any) -> Make:
    return lambda issuer, nonce: issuer.token(nonce, **changes)


def with_header(**changes: Any) -> Make:
    header = {"alg": "RS256", "kid": "first", "typ": "JWT"} | changes
    return lambda issuer, nonce: signed(header, issuer.claims(nonce))


def after(seconds: float) -> int:
    return int(time.time() + seconds)


def with_times(**seconds: float) -> Make:
    """Return what makes a token whose times are so far from now."""
    return lambda issuer, nonce: issuer.token(nonce, **{name: after(far) for name, far in seconds.items()})


ACCEPTED: dict[str, Make] = {
    "RS256": with_claims(),
    "ES256": with_claims(kid="curve"),
    "one audience in a list": with_claims(aud=[CLIENT]),
    "several audiences, made for this client": with_claims(aud=["another", CLIENT], azp=CLIENT),
    "azp": with_claims(azp=CLIENT),
    "expired within the skew": with_times(exp=-SKEW / 2),
    "from the future within the skew": with_times(iat=SKEW / 2, nbf=SKEW / 2),
    "no id of a key, where there is only one": lambda issuer, nonce: signed({"alg": "RS256"}, issuer.claims(nonce)),
    "a key in its header, which nobody uses": with_header(jwk=public(OTHER_RSA_KEY), jku="https://evil.example/keys"),
}

EXPIRED = "it has expired"
FUTURE = "it is from the future"
CLIENT_OF_ANOTHER = "it was made for another client"
INCOMPLETE = "it needs iss"
MALFORMED = "it is malformed"
ALGORITHM = "it is not signed by RS256 or ES256"
SIGNATURE = "its signature is invalid"
UNKNOWN = "the issuer does not publish its key"

REFUSED: dict[str, tuple[Make, str]] = {
    "alg none": (lambda issuer, nonce: jwt.encode(issuer.claims(nonce), None, "none"), ALGORITHM),
    "alg None": (lambda issuer, nonce: signed({"alg": "None"}, issuer.claims(nonce)), ALGORITHM),
    "no alg": (lambda issuer, nonce: signed({"kid": "first"}, issuer.claims(nonce)), ALGORITHM),
    "a list as alg": (with_header(alg=["RS256"]), ALGORITHM),
    "HS256 with the public key as its secret": (
        lambda issuer, nonce: _hs256(issuer.claims(nonce), PEM),
        ALGORITHM,
    ),
    "HS256 with the client's secret": (
        lambda issuer, nonce: jwt.encode(issuer.claims(nonce), SHARED_SECRET, "HS256", {"kid": "first"}),
        ALGORITHM,
    ),
    "RS512": (
        lambda issuer, nonce: jwt.encode(issuer.claims(nonce), RSA_KEY, "RS512", {"kid": "first"}),
        ALGORITHM,
    ),
    "PS256": (
        lambda issuer, nonce: jwt.encode(issuer.claims(nonce), RSA_KEY, "PS256", {"kid": "first"}),
        ALGORITHM,
    ),
    "ES256 with the id of an RSA key": (
        lambda issuer, nonce: jwt.encode(
            issuer.claims(nonce),
            issuer.signing["curve"],  # type: ignore[arg-type]
            "ES256",
            {"kid": "first"},
        ),
        UNKNOWN,
    ),
    "another key under the id of the issuer's": (
        lambda issuer, nonce: jwt.encode(issuer.claims(nonce), OTHER_RSA_KEY, "RS256", {"kid": "first"}),
        SIGNATURE,
    ),
    "another key in its header": (
        lambda issuer, nonce: jwt.encode(
            issuer.claims(nonce), OTHER_RSA_KEY, "RS256", {"kid": "first", "jwk": public(OTHER_RSA_KEY)}
        ),
        SIGNATURE,
    ),
    "an unknown key": (
        lambda issuer, nonce: jwt.encode(issuer.claims(nonce), OTHER_RSA_KEY, "RS256", {"kid": "another"}),
        UNKNOWN,
    ),
    "an id of a key that is no text": (with_header(kid=7), MALFORMED),
    "an extension that is critical": (with_header(crit=["exp"], exp=0), MALFORMED),
    "an unencoded payload": (with_header(crit=["b64"], b64=False), MALFORMED),
    "no signature": (lambda issuer, nonce: issuer.token(nonce).rpartition(".")[0] + ".", SIGNATURE),
    "a changed signature": (lambda issuer, nonce: _flip(issuer.token(nonce)), SIGNATURE),
    "a changed claim": (
        lambda issuer, nonce: _graft(issuer.token(nonce), issuer.claims(nonce, "bob")),
        SIGNATURE,
    ),
    "two signatures": (lambda issuer, nonce: f"{issuer.token(nonce)}.{'A' * 342}", MALFORMED),
    "JSON with two signatures": (lambda issuer, nonce: _json_form(issuer.token(nonce)), MALFORMED),
    "an encrypted token": (
        lambda issuer, nonce: f"{segment({'alg': 'RSA-OAEP', 'enc': 'A128GCM'})}.a.b.c.d",
        MALFORMED,
    ),
    "another issuer": (with_claims(iss="https://evil.example"), "it is of another issuer"),
    "the issuer and a slash": (lambda issuer, nonce: issuer.token(nonce, iss=issuer.url + "/"), "of another issuer"),
    "the issuer in a list": (lambda issuer, nonce: issuer.token(nonce, iss=[issuer.url]), "of another issuer"),
    "no issuer": (lambda issuer, nonce: signed({"alg": "RS256"}, _without(issuer, nonce, "iss")), INCOMPLETE),
    "another audience": (with_claims(aud="another"), CLIENT_OF_ANOTHER),
    "other audiences": (with_claims(aud=["another", "third"]), CLIENT_OF_ANOTHER),
    "an audience that begins as the client": (with_claims(aud=f"{CLIENT}2"), CLIENT_OF_ANOTHER),
    "audiences that are no texts": (with_claims(aud=[CLIENT, 7]), CLIENT_OF_ANOTHER),
    "no audience": (with_claims(aud=[]), INCOMPLETE),
    "several audiences without azp": (with_claims(aud=[CLIENT, "another"]), CLIENT_OF_ANOTHER),
    "azp of another client": (with_claims(azp="another"), CLIENT_OF_ANOTHER),
    "several audiences, made for another": (with_claims(aud=[CLIENT, "another"], azp="another"), CLIENT_OF_ANOTHER),
    "azp that is no text": (with_claims(azp=[CLIENT]), MALFORMED),
    "another nonce": (with_claims(nonce="another"), "it answers another challenge"),
    "no nonce": (lambda issuer, nonce: signed({"alg": "RS256"}, _without(issuer, nonce, "nonce")), INCOMPLETE),
    "a nonce that is no text": (with_claims(nonce=7), MALFORMED),
    "expired": (with_times(exp=-2 * SKEW), EXPIRED),
    "no expiry": (lambda issuer, nonce: signed({"alg": "RS256"}, _without(issuer, nonce, "exp")), INCOMPLETE),
    "an expiry that is no number": (with_claims(exp="soon"), MALFORMED),
    "an expiry in digits": (with_claims(exp="99999999999"), MALFORMED),
    "an infinite expiry": (with_claims(exp=float("inf")), MALFORMED),
    "issued in the future": (with_times(iat=2 * SKEW), FUTURE),
    "not issued": (lambda issuer, nonce: signed({"alg": "RS256"}, _without(issuer, nonce, "iat")), INCOMPLETE),
    "valid in the future": (with_times(nbf=2 * SKEW), FUTURE),
    "nobody": (lambda issuer, nonce: signed({"alg": "RS256"}, _without(issuer, nonce, "sub")), INCOMPLETE),
    "a person who is a number": (with_claims(sub=7), MALFORMED),
    "a person without an identifier": (with_claims(sub=""), "an identifier that this server cannot store"),
    "a person with control characters": (with_claims(sub="ada\n"), "an identifier that this server cannot store"),
    "a person with a long identifier": (with_claims(sub="a" * 255), "an identifier that this server cannot store"),
    "claims that are a list": (lambda issuer, nonce: signed({"alg": "RS256", "kid": "first"}, []), MALFORMED),
    "claims that are no JSON": (lambda issuer, nonce: signed({"alg": "RS256", "kid": "first"}, b"{"), MALFORMED),
    "claims that are deep": (
        lambda issuer, nonce: signed({"alg": "RS256", "kid": "first"}, b'{"a":' * 1_500 + b"1" + b"}" * 1_500),
        MALFORMED,
    ),
    "a header that is deep": (lambda issuer, nonce: f"{segment(b'[' * 9_000)}.e30.AAAA", MALFORMED),
    "no token": (lambda issuer, nonce: "x", MALFORMED),
    "dots": (lambda issuer, nonce: "..", MALFORMED),
    "no ASCII": (lambda issuer, nonce: "é.é.é", MALFORMED),
}


def _hs256(claims: Any, secret: bytes) -> str:
    """Return a token that is signed with a public key as if it were a secret, which the library refuses to make."""
    head = f"{segment({'alg': 'HS256', 'kid': 'first'})}.{segment(claims)}"
    return f"{head}.{segment(hmac.digest(secret, head.encode(), 'sha256'))}"


def _flip(token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _graft(token: str, claims: Any) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{segment(claims)}.{signature}"


def _json_form(token: str) -> str:
    header, payload, signature = token.split(".")
    one = {"protected": header, "signature": signature}
    return json.dumps({"payload": payload, "signatures": [one, one]})


def _without(issuer: LocalIssuer, nonce: str, name: str) -> Any:
    return issuer.claims(nonce, **{name: None})


@pytest.mark.parametrize("make", ACCEPTED.values(), ids=list(ACCEPTED))
async def test_a_good_token_signs_in(make: Make, issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings()) as server:
        identity = await server.sign_in(lambda nonce: make(issuer, nonce))
    assert identity.subject == f"{issuer.url}#ada"
    assert not identity.is_world_id
    assert not identity.guest


@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=list(REFUSED))
async def test_any_other_token_is_refused(make: Make, why: str, issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings(client_secret=SHARED_SECRET)) as server:
        nonce, answered = await server.challenge()
        token = make(issuer, nonce)
        with pytest.raises(AuthFailed) as refused:
            await server.send(answered, idToken=token)
    assert why in refused.value.message
    assert token not in refused.value.message


async def test_a_token_that_is_too_long_is_not_read(issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings()) as server:
        nonce, answered = await server.challenge()
        token = issuer.token(nonce, padding="x" * TOKEN_CHARACTERS)
        with pytest.raises(msgspec.ValidationError, match="idToken"):
            await server.send(answered, idToken=token)
    assert issuer.count(KEYS) == 0


async def test_a_token_without_the_id_of_a_key_is_refused_where_there_are_several(issuer: LocalIssuer) -> None:
    issuer.published.append(public(OTHER_RSA_KEY, kid="second"))
    async with server_of(issuer.settings()) as server:
        with pytest.raises(AuthFailed, match=UNKNOWN):
            await server.sign_in(lambda nonce: signed({"alg": "RS256"}, issuer.claims(nonce)))


async def test_a_new_key_of_the_issuer_is_loaded_when_it_is_used(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with server_of(issuer.settings(), clock) as server:
        await server.sign_in(issuer.token)
        issuer.signing["second"] = OTHER_RSA_KEY
        issuer.published.append(public(OTHER_RSA_KEY, kid="second"))
        clock.now += RENEW_SECONDS
        assert await server.sign_in(lambda nonce: issuer.token(nonce, kid="second"))
        assert await server.sign_in(issuer.token)
    assert issuer.count(KEYS) == 2


async def test_unknown_keys_make_the_server_load_keys_once_in_a_while(issuer: LocalIssuer) -> None:
    clock = Clock()
    issuer.signing["second"] = OTHER_RSA_KEY
    async with server_of(issuer.settings(), clock) as server:
        for rounds in (1, 2, 3):
            for _ in range(5):
                with pytest.raises(AuthFailed, match=UNKNOWN):
                    await server.sign_in(lambda nonce: issuer.token(nonce, kid="second"))
            assert issuer.count(KEYS) == rounds
            clock.now += RENEW_SECONDS


async def test_a_key_that_the_issuer_withdraws_is_refused_in_time(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with server_of(issuer.settings(), clock) as server:
        await server.sign_in(issuer.token)
        issuer.published = [public(OTHER_RSA_KEY, kid="second")]
        clock.now += KEPT_SECONDS
        with pytest.raises(AuthFailed, match=UNKNOWN):
            await server.sign_in(issuer.token)


async def test_the_persons_of_two_issuers_are_different(issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings()) as server:
        first = await server.sign_in(issuer.token)
    before = issuer.url
    issuer.url = before.replace("127.0.0.1", "localhost")
    async with server_of(issuer.settings()) as server:
        second = await server.sign_in(issuer.token)
    assert (first.subject, second.subject) == (f"{before}#ada", f"{issuer.url}#ada")


@pytest.mark.parametrize(
    ("claims", "sent", "expected"),
    [
        ({}, {}, NAMELESS),
        ({"name": "Ada Lovelace", "preferred_username": "ada"}, {}, "Ada Lovelace"),
        ({"preferred_username": "ada"}, {}, "ada"),
        ({"name": "x" * 65, "preferred_username": "ada"}, {}, "ada"),
        ({"name": "\u202eada", "preferred_username": 7}, {}, NAMELESS),
        ({"name": "Ada"}, {"displayName": "Countess"}, "Countess"),
    ],
)
async def test_the_name_of_a_new_account(
    claims: dict[str, Any], sent: dict[str, Any], expected: str, issuer: LocalIssuer
) -> None:
    async with server_of(issuer.settings()) as server:
        nonce, answered = await server.challenge()
        identity = await server.send(answered, idToken=issuer.token(nonce, **claims), **sent)
    assert identity.display_name == expected


VERIFIED = {"email": "ada@example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("configured", "claims", "expected"),
    [
        (True, VERIFIED, "ada@example.org"),
        (False, VERIFIED, None),
        (True, VERIFIED | {"email_verified": False}, None),
        (True, VERIFIED | {"email_verified": "true"}, None),
        (True, {"email": "ada@example.org"}, None),
        (True, VERIFIED | {"email": "ada"}, None),
        (True, VERIFIED | {"email": 7}, None),
    ],
)
async def test_the_mail_address_of_a_new_account(
    configured: bool, claims: dict[str, Any], expected: str | None, issuer: LocalIssuer
) -> None:
    async with server_of(issuer.settings(email=configured)) as server:
        identity = await server.sign_in(lambda nonce: issuer.token(nonce, **claims))
    assert identity.email == expected
