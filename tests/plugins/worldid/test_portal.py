"""World's portal over real HTTP: what it is asked, and what becomes of each answer that it may give."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce_plugins.provider_http import ANSWER_BYTES
from evanesce_plugins.worldid import health
from evanesce_plugins.worldid.health import Health
from evanesce_plugins.worldid.portal import Portal, refusal
from evanesce_plugins.worldid.proof import check
from tests.patience import PATIENCE
from tests.plugins.worldid.results import NULLIFIER, SESSION, fields, item, result, settings, wanted
from tests.plugins.worldid.scripted import ScriptedPortal, scripted_portal

RP = "rp_0123456789abcdef"
ADDRESS = "0xe239cdc5fbe977a8a141b72194d3cf8c41bc5bc6"
NOW = 1_788_302_888.0
DATE = "Date: Tue, 01 Sep 2026 22:48:08 GMT"

UNIQUE = {
    "success": True,
    "action": "sign-up",
    "nullifier": "0x" + NULLIFIER[2:].upper(),
    "created_at": "2026-09-01T00:00:00Z",
    "environment": "production",
    "results": [{"identifier": "proof_of_human", "success": True, "nullifier": NULLIFIER}],
    "message": "Proof verified successfully",
}
SESSIONS = {
    "success": True,
    "session_id": SESSION,
    "environment": "production",
    "results": [{"identifier": "proof_of_human", "success": True}],
    "message": "Proof verified successfully",
}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedPortal]:
    async with scripted_portal() as portal:
        yield portal


async def verify(scripted: ScriptedPortal, kind: str = "uniqueness", seconds: float = 5.0) -> None:
    proof = check(result(kind), wanted(kind), settings())
    with trio.fail_after(PATIENCE):
        async with Portal(scripted.url, RP, seconds) as portal:
            await portal.verify(proof)


async def test_what_it_is_asked(scripted: ScriptedPortal) -> None:
    scripted.say(UNIQUE)
    await verify(scripted)
    [request] = scripted.asked
    assert (request.method, request.path) == ("POST", f"/api/v4/verify/{RP}")
    assert json.loads(request.body) == fields()
    assert request.headers["user-agent"].startswith("evanesce/")
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(("kind", "answer"), [("uniqueness", UNIQUE), ("new_session", SESSIONS), ("session", SESSIONS)])
async def test_a_success(kind: str, answer: dict[str, Any], scripted: ScriptedPortal) -> None:
    scripted.say(answer)
    await verify(scripted, kind)
    assert len(scripted.asked) == 1


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (UNIQUE | changes).items() if value is not None}


@pytest.mark.parametrize(
    "answer",
    [
        changed(success=False),
        changed(success=None),
        changed(nullifier="0xabd"),
        changed(nullifier=None),
        changed(nullifier="nonsense"),
        changed(action="another"),
        changed(environment="staging"),
        changed(protocol_version="3.0"),
        changed(results=[]),
        changed(results=None),
        changed(results=[{"success": False}]),
        changed(results=[{"success": True}, {"success": False}]),
        changed(session_id=SESSION),
        {"success": True},
        {},
    ],
)
async def test_a_success_that_is_none(answer: dict[str, Any], scripted: ScriptedPortal) -> None:
    scripted.say(answer)
    with pytest.raises(AuthFailed):
        await verify(scripted)


@pytest.mark.parametrize("session_id", [None, SESSION[:-1] + "0"])
async def test_a_success_for_another_session(session_id: str | None, scripted: ScriptedPortal) -> None:
    scripted.say({name: value for name, value in (SESSIONS | {"session_id": session_id}).items() if value})
    with pytest.raises(AuthFailed):
        await verify(scripted, "session")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"code": "invalid_request", "detail": "x", "attribute": None, "app_id": "app_test"}, "invalid_request"),
        (400, {"code": "validation_error", "detail": "x", "attribute": "responses[0]"}, "validation_error"),
        (400, {"code": "rp_not_active", "detail": "x", "attribute": None}, "rp_not_active"),
        (400, {"code": "app_not_migrated", "detail": "x"}, "app_not_migrated"),
        (403, {"code": "integrity_verification_failed", "detail": "x"}, "integrity_verification_failed"),
        (404, {"code": "not_found", "detail": "x"}, "not_found"),
        (
            400,
            {
                "success": False,
                "code": "all_verifications_failed",
                "results": [{"success": False, "code": "invalid_root"}],
            },
            "invalid_root",
        ),
        (400, {"success": False, "code": "all_verifications_failed", "results": []}, "all_verifications_failed"),
        (200, {"success": False, "code": "verification_failed"}, "verification_failed"),
        (400, {"code": "something_new"}, "something_new"),
        (400, {"code": "<b>\x1b[31m"}, "unknown"),
        (400, {}, "unknown"),
    ],
)
async def test_a_refusal_says_why_in_words(
    status: int, body: dict[str, Any], code: str, scripted: ScriptedPortal
) -> None:
    scripted.say(body, status)
    with pytest.raises(AuthFailed) as refused:
        await verify(scripted)
    assert refused.value.message == refusal(code)
    assert refused.value.message.endswith(f"({code}).")


async def test_what_the_operator_has_to_do_is_in_the_log(
    scripted: ScriptedPortal, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.say({"code": "rp_not_active"}, 400)
    with pytest.raises(AuthFailed):
        await verify(scripted)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"World's portal refuses {RP}: rp_not_active. Run evanesce check"
    ]


HTML = b"<!doctype html><title>Forbidden</title>"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"code": "internal_error"}'),
        (503, HTML),
        (200, HTML),
        (403, HTML),
        (429, b"slow down"),
        (302, b""),
        (204, b""),
        (200, b"[]"),
        (200, b'{"success": "yes"}'),
        (200, b'{"success": true'),
        (200, b"\xff\xfe"),
        (200, b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
        (200, b'{"x": "' + b"x" * ANSWER_BYTES + b'"}'),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_answer(status: int, body: bytes, scripted: ScriptedPortal) -> None:
    scripted.say(body, status)
    with pytest.raises(AuthUnavailable) as refused:
        await verify(scripted)
    assert refused.value.code.retry


async def test_a_portal_that_is_slow_ends_with_its_timeout(scripted: ScriptedPortal) -> None:
    scripted.answer = None
    with pytest.raises(AuthUnavailable):
        await verify(scripted, seconds=1.5)
    assert len(scripted.asked) == 1


async def test_a_portal_that_is_not_there(scripted: ScriptedPortal) -> None:
    scripted.url = "http://127.0.0.1:1"
    with pytest.raises(AuthUnavailable):
        await verify(scripted)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"nonsense\r\n\r\n"])
async def test_a_portal_that_breaks_off(answer: bytes, scripted: ScriptedPortal) -> None:
    scripted.answer = answer
    with pytest.raises(AuthUnavailable):
        await verify(scripted)


async def test_nothing_of_a_proof_is_in_the_log(scripted: ScriptedPortal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    secrets = (NULLIFIER, "canary", SESSION)
    for body in (b"canary", b'{"success": true, "nullifier": "canary"}', b'{"code": "canary\\u0000"}'):
        scripted.say(body, 400 if body.startswith(b'{"code') else 200)
        with pytest.raises((AuthFailed, AuthUnavailable)):
            await verify(scripted)
    text = " ".join(record.getMessage() + str(record.exc_info) for record in caplog.records)
    assert text
    assert not any(secret in text for secret in secrets)
    assert json.dumps(item()["proof"]) not in text


# How it is


def healthy(production: str | None = "registered", staging: str | None = None) -> dict[str, Any]:
    return {"production_status": production, "staging_status": staging}


async def say_how(
    scripted: ScriptedPortal, clock: Callable[[], float] = lambda: NOW, *, seconds: float = 15.0, **changes: Any
) -> str:
    deployed = settings(api_url=scripted.url, timeout=seconds, **changes)
    async with Portal(scripted.url, RP, seconds) as portal:
        return await Health(deployed, ADDRESS, portal, clock).check()


async def test_a_registration_that_is_active(scripted: ScriptedPortal) -> None:
    scripted.say(healthy(), 200, DATE)
    said = await say_how(scripted)
    assert scripted.asked[0].path == f"/api/v4/rp-status/{RP}"
    assert ADDRESS in said
    assert "active in production" in said
    scripted.say(healthy("failed", "registered"))
    assert "active in staging" in await say_how(scripted, environment="staging")


@pytest.mark.parametrize(
    ("status", "body", "changes", "words"),
    [
        (200, healthy("pending"), {}, "is pending in production: activate it"),
        (200, healthy("deactivated", "failed"), {}, "is deactivated in production"),
        (200, healthy(None), {}, "is not registered in production"),
        (200, healthy("pending", "registered"), {}, "active in the other environment"),
        (200, healthy("registered", "pending"), {"environment": "staging"}, "active in the other environment"),
        (404, {"code": "not_found"}, {}, "does not know rp_0123456789abcdef: correct plugins.worldid.rp_id"),
        (503, b"<html>", {}, "it answered HTTP 503"),
    ],
)
async def test_each_fault_is_explained(
    status: int, body: Any, changes: dict[str, Any], words: str, scripted: ScriptedPortal
) -> None:
    scripted.say(body, status)
    with pytest.raises(AuthUnavailable) as refused:
        await say_how(scripted, **changes)
    assert words in refused.value.message


@pytest.mark.parametrize(("off", "words"), [(61.0, "61 s ahead"), (-3600.0, "3600 s behind")])
async def test_a_clock_that_is_off(off: float, words: str, scripted: ScriptedPortal) -> None:
    scripted.say(healthy(), 200, DATE)
    with pytest.raises(AuthUnavailable, match=words):
        await say_how(scripted, lambda: NOW + off)
    assert "is active" in await say_how(scripted, lambda: NOW + 59)


async def test_a_portal_that_says_no_time_or_nonsense(scripted: ScriptedPortal) -> None:
    for header in ([], ["Date: yesterday"]):
        scripted.say(healthy(), 200, *header)
        assert "is active" in await say_how(scripted, lambda: 0.0)


async def test_a_frozen_portal_is_told_as_such(scripted: ScriptedPortal) -> None:
    scripted.answer = None
    with pytest.raises(AuthUnavailable, match=r"gave no answer within 0\.5 s"):
        await say_how(scripted, seconds=0.5)


async def test_a_good_answer_serves_for_a_while(scripted: ScriptedPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.say(healthy())
    async with Portal(scripted.url, RP, 5) as portal:
        how = Health(settings(), ADDRESS, portal, lambda: NOW)
        assert await how.check() == await how.check()
        assert len(scripted.asked) == 1
        monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
        scripted.say(healthy("pending"))
        for asked_so_far in (2, 3):
            with pytest.raises(AuthUnavailable):
                await how.check()
            assert len(scripted.asked) == asked_so_far, "a fault is looked at again each time"
