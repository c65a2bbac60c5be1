"""Tokens: ours alone, for their time alone."""

from __future__ import annotations

import base64
import hmac
import json
import random
import string
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from evanesce.accounts.tokens import MOST_READ, Claims, Tokens
from evanesce.errors import CommandError

SECRET = "a secret for tests, of 32 characters"
NOW = 1_800_000_000_000
LETTERS = string.ascii_letters + string.digits + "-_."
TOKENS = Tokens(SECRET, token_seconds=3600, refresh_seconds=86_400)


def forged(
    secret: str = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any
) -> str:
    claims = {"sub": "u", "sid": "s", "auth_time": NOW // 1000, "exp": NOW // 1000 + 60, "aud": "evanesce"} | changes
    payload = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(payload, secret, algorithm, headers=headers)


def unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "u", "sid": "s", "auth_time": NOW // 1000, "exp": NOW // 1000 + 60, "aud": "evanesce"}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


def test_a_token_is_read_until_it_runs_out() -> None:
    token, claims = TOKENS.issue("user", NOW)
    assert TOKENS.read(token, NOW) == claims
    assert TOKENS.read(token, NOW + 3_599_000) == claims
    with pytest.raises(CommandError, match="expired"):
        TOKENS.read(token, NOW + 3_600_000)


def test_a_token_that_was_read_before_is_read_alike_and_a_changed_one_is_not() -> None:
    tokens = Tokens(SECRET, token_seconds=3600, refresh_seconds=86_400)
    read = [tokens.issue(f"user {number}", NOW) for number in range(MOST_READ + 1)]
    for token, claims in read:
        assert tokens.read(token, NOW) == claims
    for token, claims in (read[0], read[-1]):  # the first one is remembered no more
        assert tokens.read(token, NOW) == tokens.read(token, NOW) == claims
        with pytest.raises(CommandError, match="not valid"):
            tokens.read(token[:-1] + ("A" if token[-1] != "A" else "E"), NOW)
    with pytest.raises(CommandError, match="expired"):
        tokens.read(read[0][0], NOW + 3_600_000)


def test_refreshed_tokens_share_their_sign_in() -> None:
    _, claims = TOKENS.issue("user", NOW)
    token, later = TOKENS.refresh(claims, NOW + 86_000_000)
    assert token != TOKENS.refresh(claims, NOW + 86_000_000)[0]
    assert (later.sid, later.auth_time, later.sub) == (claims.sid, claims.auth_time, "user")
    assert TOKENS.read(token, NOW + 86_000_000) == later
    with pytest.raises(CommandError, match="too old"):
        TOKENS.refresh(later, NOW + 86_401_000)
    assert TOKENS.last_use(claims) >= TOKENS.last_use(later)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        unsigned(),
        forged(secret="another secret, also of 32 characters"),
        forged(algorithm="HS512", secret=SECRET * 2),
        forged(aud="someone else"),
        forged(aud=None),
        forged(sub=None),
        forged(sid=None),
        forged(exp=None),
        forged(exp="soon"),
        forged(sub=7),
        forged(exp=-1),
        forged(auth_time="then"),
        forged()[:-1],
        forged() + "x",
        forged().rpartition(".")[0] + ".",
        forged().rpartition(".")[0],
        forged().partition(".")[0] + ".",
        forged() + "\ud800",
        forged() + "\u00e9",
        forged(sub="other").rpartition(".")[0] + "." + forged().rpartition(".")[2],
        b".".join(
            base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256","typ":"JWT"}', b"[", b"")
        ).decode(),
    ],
)
def test_nothing_else_is_let_in(token: str) -> None:
    with pytest.raises(CommandError) as raised:
        TOKENS.read(token, NOW)
    assert raised.value.code == "invalid_token"


def test_a_thousand_tokens_that_are_not_ours_are_refused(record_property: Callable[[str, object], None]) -> None:
    chance = random.Random(20261130)
    for number in range(1000):
        match number % 5:
            case 0:  # of the right form, and with one character changed
                place = chance.randrange(len(token := forged(jti=str(number))))
                other = chance.choice([letter for letter in LETTERS if letter != token[place]])
                changed = token[:place] + other + token[place + 1 :]
                token = changed if signed_part(changed) != signed_part(token) else token[:place]
            case 1:
                token = forged(exp=NOW // 1000 - chance.randrange(10**9))
            case 2:
                token = forged(aud=chance.choice(["", "other", ["other"], "evanesce.", "EVANESCE"]))
            case 3:
                token = forged(algorithm=chance.choice(["HS384", "HS512"]), secret=SECRET * 4, jti=str(number))
            case _:
                token = forged(secret=f"{chance.getrandbits(256):x}")
        with pytest.raises(CommandError) as raised:
            TOKENS.read(token, NOW)
        assert raised.value.code == "invalid_token", token
    record_property("measured", "0 of 1,000 tokens let in")


def signed_part(token: str) -> tuple[str, bytes]:
    """Return what a token says, and its signature in bytes: of its last character not every bit counts."""
    said, _, signature = token.rpartition(".")
    return said, base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))


def test_a_token_is_refused_after_the_secret_has_changed() -> None:
    token, claims = TOKENS.issue("user", NOW)
    assert TOKENS.read(token, NOW) == claims
    changed = Tokens("another secret, also of 32 characters", token_seconds=3600, refresh_seconds=86_400)
    with pytest.raises(CommandError) as raised:
        changed.read(token, NOW)
    assert raised.value.code == "invalid_token"


def signed(payload: bytes) -> str:
    """Return what a program with the secret signs, with the header of this server's own tokens."""
    head = f"{jwt.encode({}, SECRET).partition('.')[0]}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}"
    digest = hmac.digest(SECRET.encode(), head.encode(), "sha256")
    return f"{head}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b'{"sub":"u"}', b"x" * 100])
def test_a_token_with_a_true_signature_needs_the_claims(payload: bytes) -> None:
    with pytest.raises(CommandError) as raised:
        TOKENS.read(signed(payload), NOW)
    assert raised.value.code == "invalid_token"


def test_no_character_of_a_token_can_be_changed() -> None:
    token, claims = TOKENS.issue("user", NOW)
    assert TOKENS.read(token, NOW) == claims
    for place in range(len(token)):
        for new in "A.=_ \u0100":
            for changed in (token[:place] + new + token[place + 1 :], token[:place] + new + token[place:]):
                if changed == token:
                    continue
                with pytest.raises(CommandError) as raised:
                    TOKENS.read(changed, NOW)
                assert raised.value.code == "invalid_token"


@pytest.mark.parametrize("headers", [None, {"typ": None}, {"kid": "1"}, {"typ": "at+jwt"}])
@pytest.mark.parametrize(
    ("changes", "accepted"),
    [({}, True), ({"jti": "1"}, True), ({"aud": "someone else"}, False), ({"sub": None}, False), ({"exp": -1}, False)],
)
def test_a_token_is_read_alike_with_any_header(
    headers: dict[str, Any] | None, changes: dict[str, Any], accepted: bool
) -> None:
    token = forged(headers=headers, **changes)
    if accepted:
        assert TOKENS.read(token, NOW) == Claims(sub="u", sid="s", auth_time=NOW // 1000, exp=NOW // 1000 + 60)
        token = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    with pytest.raises(CommandError) as raised:
        TOKENS.read(token, NOW)
    assert raised.value.code == "invalid_token"
