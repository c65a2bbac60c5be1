"""What becomes of each answer that an issuer may give, and what it is asked."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from evanesce.errors import AuthFailed, AuthUnavailable, BadRequest, ConfigurationError
from evanesce_plugins.oidc.authenticator import FRESH_SECONDS
from evanesce_plugins.oidc.keys import MOST_KEYS, parse_keys
from evanesce_plugins.oidc.settings import OidcSettings, check, is_safe
from evanesce_plugins.provider_http import ANSWER_BYTES
from tests.patience import PATIENCE
from tests.plugins.oidc.contract import VERIFIER
from tests.plugins.oidc.local_issuer import (
    DISCOVERY,
    EC_KEY,
    KEYS,
    OTHER_RSA_KEY,
    RSA_KEY,
    TOKEN,
    LocalIssuer,
    public,
    response,
)
from tests.plugins.oidc.server import CALLER, Clock, server_of

SECRET = "a secret+of/the:client".replace(" ", "-")


def endless() -> bytes:
    return response(200, b"[" * (ANSWER_BYTES + 1))


ANSWERS: dict[str, tuple[bytes | None, str]] = {
    "never": (None, "it gave no answer within"),
    "nothing": (b"HTTP/1.1 ", "the connection to it failed"),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", "the connection to it failed"),
    "half": (response(200, b"{}").replace(b"Content-Length: 2", b"Content-Length: 9"), "the connection to it failed"),
    "too much": (endless(), f"it gave an answer of over {ANSWER_BYTES} bytes"),
    "no JSON": (response(200, b"<html>"), "its "),
    "a list": (response(200, []), "its "),
    "deep": (response(200, b"[" * 30_000), "its "),
    "compressed": (response(200, b"\x1f\x8b", "Content-Encoding: gzip"), "its "),
    "a redirect": (response(302, b"", "Location: http://127.0.0.1:1/"), "it answered HTTP 302"),
    "a fault": (response(503, b""), "it answered HTTP 503"),
    "not found": (response(404, {}), "it answered HTTP 404"),
}

DISCOVERIES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"issuer": "https://evil.example"}, "that of another issuer"),
    "keys without TLS": ({"jwks_uri": "http://evil.example/keys"}, "its jwks_uri is no address over TLS"),
    "a page without TLS": ({"authorization_endpoint": "http://evil.example/"}, "its authorization_endpoint is no"),
    "a script as a page": ({"authorization_endpoint": "javascript:alert(1)"}, "its authorization_endpoint is no"),
    "tokens without TLS": ({"token_endpoint": "http://192.0.2.1/"}, "its token_endpoint is no"),
    "keys in a file": ({"jwks_uri": "file:///etc/passwd"}, "its jwks_uri is no address over TLS"),
    "no keys": ({"jwks_uri": None}, "is not one of OpenID Connect"),
    "a page that is no text": ({"authorization_endpoint": 7}, "is not one of OpenID Connect"),
}


async def problem_of(issuer: LocalIssuer, **changes: Any) -> str:
    """Return what `evanesce check` says about an issuer that cannot be used."""
    async with server_of(issuer.settings(**changes)) as server:
        with trio.fail_after(PATIENCE), pytest.raises(AuthUnavailable) as refused:
            await server.authenticator.check()
        return refused.value.message


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_none(path: str, name: str, issuer: LocalIssuer) -> None:
    issuer.answers[path], why = ANSWERS[name]
    assert why in await problem_of(issuer, timeout=0.5 if name == "never" else 12.0)


@pytest.mark.parametrize("name", DISCOVERIES)
async def test_a_discovery_document_that_is_not_the_issuers(name: str, issuer: LocalIssuer) -> None:
    issuer.discovered, why = DISCOVERIES[name]
    assert why in await problem_of(issuer)


async def test_an_issuer_that_begins_to_name_another_one_is_not_used_any_more(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with server_of(issuer.settings(), clock) as server:
        assert await server.authenticator.check()
        issuer.discovered = {"issuer": "https://evil.example"}
        clock.now += FRESH_SECONDS
        with pytest.raises(AuthUnavailable, match="another issuer"):
            await server.authenticator.check()


async def test_an_answer_without_an_end_is_left_at_the_deadline(issuer: LocalIssuer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    issuer.answers[DISCOVERY] = head + b"{" * 100

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(head)
            while True:
                await stream.send_all(b" " * ANSWER_BYTES)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            issuer.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

            async def serve_until_left(stream: trio.SocketStream) -> None:
                try:
                    await serve(stream)
                except trio.BrokenResourceError:
                    nursery.cancel_scope.cancel()  # the server has left

            nursery.start_soon(trio.serve_listeners, serve_until_left, [listener])
            assert "it gave no answer within 0.5 s" in await problem_of(issuer, timeout=0.5)
            await trio.sleep_forever()


def test_only_keys_that_may_sign_are_used() -> None:
    of_curve = public(ec.generate_private_key(ec.SECP384R1()))
    unusable = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric", "alg": "RS256"},
        public(RSA_KEY, kid="for encryption", use="enc"),
        public(RSA_KEY, kid="another algorithm", alg="RS512"),
        public(EC_KEY, kid="of another kind", alg="RS256"),
        public(rsa.generate_private_key(65537, 1024), kid="short"),
        {**of_curve, "kid": "curve"},
        {**public(EC_KEY), "x": public(ec.generate_private_key(ec.SECP256R1()))["x"], "kid": "not on the curve"},
        {"kty": "RSA", "kid": "no numbers"},
        {"kty": "RSA", "kid": "large", "n": "A" * 3_000, "e": "AQAB"},
        {"kty": "RSA", "kid": "no exponent", "n": public(RSA_KEY)["n"], "e": "AA"},
        {"kid": "no kind"},
        "text",
        None,
    ]
    keys = parse_keys(msgspec.json.encode({"keys": [*unusable, public(OTHER_RSA_KEY, kid="good")]}))
    assert len(keys) == 1
    assert keys.find("RS256", "good")
    with pytest.raises(ValueError, match="it has no key for RS256 or ES256"):
        parse_keys(msgspec.json.encode({"keys": unusable}))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys":{}}', b"\xff", msgspec.json.encode({"keys": [{}] * (MOST_KEYS + 1)})]
)
def test_a_key_set_that_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON Web Key Set"):
        parse_keys(body)


def test_two_keys_of_one_id_are_none() -> None:
    keys = parse_keys(msgspec.json.encode({"keys": [public(RSA_KEY, kid="a"), public(OTHER_RSA_KEY, kid="a")]}))
    assert keys.find("RS256", "a") is None


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_the_code_of_a_client_is_exchanged(secret: str | None, issuer: LocalIssuer) -> None:
    issuer.secret = secret
    async with server_of(issuer.settings(client_secret=secret)) as server:
        nonce, answered = await server.challenge()
        code = issuer.code(issuer.token(nonce), VERIFIER)
        identity = await server.send(answered, code=code, codeVerifier=VERIFIER)
    assert identity.subject == f"{issuer.url}#ada"
    [asked] = [asked for asked in issuer.asked if asked.path == TOKEN]
    assert "client_secret" not in asked.form
    assert ("authorization" in asked.headers) == (secret is not None)
    assert asked.form["grant_type"] == "authorization_code"
    assert asked.form["redirect_uri"] == "https://chat.example/oidc/callback"


async def test_a_secret_is_sent_in_the_form_where_the_issuer_takes_no_header(issuer: LocalIssuer) -> None:
    issuer.secret = SECRET
    issuer.discovered = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with server_of(issuer.settings(client_secret=SECRET)) as server:
        nonce, answered = await server.challenge()
        assert await server.send(answered, code=issuer.code(issuer.token(nonce), VERIFIER), codeVerifier=VERIFIER)
    [asked] = [asked for asked in issuer.asked if asked.path == TOKEN]
    assert "authorization" not in asked.headers


async def test_a_token_that_the_code_leads_to_has_to_answer_the_challenge(issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings()) as server:
        _, answered = await server.challenge()
        code = issuer.code(issuer.token("another"), VERIFIER)
        with pytest.raises(AuthFailed, match="another challenge"):
            await server.send(answered, code=code, codeVerifier=VERIFIER)


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (response(400, {"error": "invalid_grant"}), AuthFailed, "(invalid_grant)"),
        (response(401, {"error": "invalid_client"}), AuthFailed, "(invalid_client)"),
        (response(400, {"error": "<b>canary</b>"}), AuthFailed, "(unknown)"),
        (response(400, b"canary"), AuthUnavailable, "does not answer"),
        (response(200, {"access_token": "canary"}), AuthUnavailable, "does not answer"),
        (response(200, {"id_token": 7}), AuthUnavailable, "does not answer"),
        (response(200, {"id_token": "canary"}), AuthFailed, "it is malformed"),
        (response(302, b"", "Location: https://evil.example/"), AuthUnavailable, "does not answer"),
        (response(500, b"canary"), AuthUnavailable, "does not answer"),
        (endless(), AuthUnavailable, "does not answer"),
    ],
)
async def test_a_code_that_leads_to_nothing(
    answer: bytes, error: type[Exception], why: str, issuer: LocalIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "evanesce_plugins")
    issuer.answers[TOKEN] = answer
    async with server_of(issuer.settings(client_secret=SECRET)) as server:
        _, answered = await server.challenge()
        with pytest.raises(error) as refused:
            await server.send(answered, code="canary-code", codeVerifier=VERIFIER)
    assert why in str(refused.value)
    for text in (caplog.text, str(refused.value)):
        assert "canary" not in text
        assert SECRET not in text
    assert ("Correct [plugins.oidc]" in caplog.text) == ("invalid_client" in why)


async def test_an_issuer_without_a_token_endpoint_takes_no_code(issuer: LocalIssuer) -> None:
    issuer.discovered = {"token_endpoint": None}
    async with server_of(issuer.settings()) as server:
        nonce, answered = await server.challenge()
        with pytest.raises(AuthUnavailable):
            await server.send(answered, code="code", codeVerifier=VERIFIER)
        assert await server.send(answered, idToken=issuer.token(nonce))


@pytest.mark.parametrize(
    "credential",
    [{}, {"idToken": "a", "code": "b", "codeVerifier": VERIFIER}, {"code": "b"}, {"codeVerifier": VERIFIER}],
)
async def test_a_credential_is_a_token_or_a_code(credential: dict[str, Any], issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings()) as server:
        _, answered = await server.challenge()
        with pytest.raises(BadRequest):
            await server.send(answered, **credential)


async def test_what_a_challenge_says(issuer: LocalIssuer) -> None:
    async with server_of(issuer.settings(email=True)) as server:
        asked = await server.authenticator.challenge({}, CALLER)
    fields = dict(asked.fields)
    assert len(fields.pop("nonce")) == 43
    assert fields == {
        "issuer": issuer.url,
        "clientId": "chat",
        "authorizationEndpoint": f"{issuer.url}/authorize",
        "redirectUri": "https://chat.example/oidc/callback",
        "scope": "openid profile email",
    }


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_what_check_says(secret: str | None, issuer: LocalIssuer) -> None:
    clock = Clock()
    async with server_of(issuer.settings(client_secret=secret), clock) as server:
        told = await server.authenticator.check()
        assert await server.authenticator.check() == told
        clock.now += FRESH_SECONDS
        await server.authenticator.check()
    kind = "public" if secret is None else "confidential"
    assert told == (
        f"{issuer.url} has 2 keys; it must know https://chat.example/oidc/callback as a redirect of a {kind} client"
    )
    assert issuer.count(DISCOVERY) == issuer.count(KEYS) == 2


async def test_many_who_wait_for_a_silent_issuer_wait_no_longer_than_one(issuer: LocalIssuer) -> None:
    issuer.answers[KEYS] = None
    failed = 0

    async def sign_in() -> None:
        nonlocal failed
        with pytest.raises(AuthUnavailable):
            await server.sign_in(issuer.token)
        failed += 1

    async with server_of(issuer.settings(timeout=0.5)) as server:
        await server.challenge()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(sign_in)
    assert failed == 10
    assert issuer.count(KEYS) <= 2  # the last ones may still ask, after the first one has given up


@pytest.mark.parametrize(
    ("issuer_url", "problem"),
    [
        ("http://id.example", "has to come over TLS"),
        ("http://127.0.0.1.evil.example", "has to come over TLS"),
        ("https://[::1", "has a [ without a ]"),
    ],
)
def test_an_issuer_that_is_refused(issuer_url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check(OidcSettings(issuer=issuer_url, client_id="c"), "plugins.oidc")
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("url", "issuer_url", "safe"),
    [
        ("https://id.example/a?b=c", "https://id.example", True),
        ("https://keys.example", "https://id.example", True),
        ("http://id.example", "https://id.example", False),
        ("http://127.0.0.1:8080", "https://id.example", False),
        ("http://127.0.0.1:8080", "http://localhost:8080", True),
        ("http://192.0.2.1", "http://localhost:8080", False),
        ("https://user:password@id.example", "https://id.example", False),
        ("https://id.example/#x", "https://id.example", False),
        ("", "https://id.example", False),
    ],
)
def test_which_addresses_an_issuer_may_name(url: str, issuer_url: str, safe: bool) -> None:
    assert is_safe(url, issuer_url) is safe


def test_the_secret_of_the_client_is_not_shown() -> None:
    settings = OidcSettings(issuer="https://id.example", client_id="c", client_secret=SECRET)
    assert SECRET not in f"{settings!r} {settings}"
