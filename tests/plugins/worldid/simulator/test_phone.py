"""The phone: what it reads of a link and a request, what it answers under encryption, and the page in front of it.

That its answers are IDKit's, the real IDKit says (tests/e2e/test_idkit.py); here is what IDKit never sends.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.simulator.bridge import Envelope, seal, unseal
from evanesce_plugins.worldid.simulator.proofs import action_number
from tests.worldid.simulation import ACTION, APP_ID, Simulation

ITEM = {"identifier": "proof_of_human", "issuer_schema_id": 1, "signal": "0x5a", "expires_at_min": None}
SIGNAL_HASH = encoding.signal_hash("0x5a")


class Page:
    """A page with a request at the bridge: as IDKit 4.3.0 writes it, with changes to it and to its inner part."""

    def __init__(self, simulated: Simulation) -> None:
        self._simulated = simulated
        self._secret = secrets.token_bytes(32)
        self._key = ""

    def request(self, inner: dict[str, Any], **changes: Any) -> dict[str, Any]:
        context = self._simulated.challenge("sign_up")["rpContext"]
        proof_request = {
            "id": "a request",
            "version": 1,
            "proof_type": "uniqueness",
            **context,
            "oprf_key_id": "0x123456789abcdef",
            "session_id": None,
            "action": f"0x{action_number(ACTION):064x}",
            "proof_requests": [ITEM],
        }
        return {
            "app_id": APP_ID,
            "action": ACTION,
            "signal": encoding.signal_hash("legacy"),
            "verification_level": "device",
            "proof_request": proof_request | inner,
            "allow_legacy_proofs": False,
            "environment": "staging",
        } | changes

    async def leave(self, message: Any) -> str:
        """Leave a request; return its link."""
        envelope = seal(self._secret, msgspec.json.encode(message))
        response = await self._simulated.client.post("/request", json=msgspec.to_builtins(envelope))
        self._key = response.json()["request_id"]
        return self.link()

    def link(self, **changes: str | None) -> str:
        fields = {"t": "wld", "i": self._key, "k": b64encode(self._secret).decode(), "b": self._simulated.url} | changes
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value is not None)
        return f"https://world.org/verify?{query}"

    async def answer(self) -> Any:
        """Open what the phone left."""
        response = await self._simulated.client.get(f"/response/{self._key}")
        assert response.json()["status"] == "completed"
        envelope = msgspec.convert(response.json()["response"], Envelope)
        return msgspec.json.decode(unseal(self._secret, envelope))


@pytest.fixture
def page(simulated: Simulation) -> Page:
    return Page(simulated)


async def scan(simulated: Simulation, uri: str, **more: Any) -> tuple[int, dict[str, Any]]:
    response = await simulated.client.post("/simulator/scan", json={"person": "Ana", "uri": uri, **more})
    return response.status_code, response.json()


async def test_it_answers_as_the_protocol_writes_a_proof(simulated: Simulation, page: Page) -> None:
    uri = await page.leave(page.request({}))
    assert await scan(simulated, uri) == (200, {"success": True})
    answer = (await page.answer())["proof_response"]
    [item] = answer.pop("responses")
    assert answer == {"id": "a request", "version": 1}
    assert len(bytes.fromhex(item.pop("proof"))) == 160
    assert item.pop("nullifier").startswith("nil_")
    assert item == {"identifier": "proof_of_human", "issuer_schema_id": 1, "expires_at_min": int(simulated.clock.now)}


async def test_a_wanted_expiry_is_in_the_proof(simulated: Simulation, page: Page) -> None:
    uri = await page.leave(page.request({"proof_requests": [ITEM | {"expires_at_min": 1_900_000_000}]}))
    assert await scan(simulated, uri) == (200, {"success": True})
    [item] = (await page.answer())["proof_response"]["responses"]
    assert item["expires_at_min"] == 1_900_000_000


async def test_a_legacy_proof_has_the_legacy_signal(simulated: Simulation, page: Page) -> None:
    uri = await page.leave(page.request({}, allow_legacy_proofs=True))
    assert await scan(simulated, uri, legacy=True) == (200, {"success": True})
    answer = await page.answer()
    assert set(answer) == {"proof", "merkle_root", "nullifier_hash", "verification_level"}
    legacy = {
        "protocol_version": "3.0",
        "nonce": "0x1",
        "action": ACTION,
        "environment": "staging",
        "responses": [
            {
                "identifier": answer["verification_level"],
                "signal_hash": encoding.signal_hash("legacy"),
                "proof": answer["proof"],
                "merkle_root": answer["merkle_root"],
                "nullifier": answer["nullifier_hash"],
            }
        ],
    }
    assert (await simulated.verify(legacy))[0] == 200
    legacy["responses"][0]["signal_hash"] = SIGNAL_HASH
    assert (await simulated.verify(legacy))[0] == 400


@pytest.mark.parametrize(
    ("inner", "changes", "code"),
    [
        ({"proof_requests": []}, {}, "credential_unavailable"),
        ({"proof_requests": [ITEM, ITEM | {"identifier": "passport"}]}, {}, "credential_unavailable"),
        (
            {"proof_requests": [ITEM | {"identifier": "passport", "issuer_schema_id": 9303}]},
            {},
            "credential_unavailable",
        ),
        ({"proof_requests": [ITEM | {"signal": "0xnone"}]}, {}, "malformed_request"),
        ({"action": None}, {}, "malformed_request"),
        ({"action": "0x1"}, {}, "malformed_request"),
        ({"nonce": "none"}, {}, "malformed_request"),
        ({"session_id": "session_12"}, {}, "malformed_request"),
        ({"created_at": "now"}, {}, "malformed_request"),
        ({}, {"action": "another"}, "malformed_request"),
        ({}, {"signal": "none"}, "malformed_request"),
        ({}, {"app_id": None}, "malformed_request"),
        ({}, {"proof_request": None}, "malformed_request"),
        ({"signature": "0x"}, {}, "invalid_rp_signature"),
        ({"session_id": "create"}, {}, "invalid_rp_signature"),
    ],
)
async def test_what_it_cannot_prove_it_says_to_the_page(
    simulated: Simulation, page: Page, inner: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    uri = await page.leave(page.request(inner, **changes))
    assert await scan(simulated, uri) == (200, {"success": False, "error": code})
    assert await page.answer() == {"error_code": code}


LEGACY_ALONE = {"allow_legacy_proofs": True, "verification_level": "orb"}


def legacy_request(page: Page, **changes: Any) -> dict[str, Any]:
    """Return a request as IDKit's preset `orbLegacy` writes it: without a `proof_request`."""
    request = page.request({}, **LEGACY_ALONE) | changes
    del request["proof_request"]
    return request


async def test_a_request_for_a_legacy_proof_alone_gets_one(simulated: Simulation, page: Page) -> None:
    given: list[str] = []
    for request in (page.request({}, allow_legacy_proofs=True), legacy_request(page)):
        legacy = {"legacy": True} if "proof_request" in request else {}
        assert await scan(simulated, await page.leave(request), **legacy) == (200, {"success": True})
        answer = await page.answer()
        assert answer["verification_level"] == "orb"
        given.append(encoding.nullifier(answer["nullifier_hash"]))
    assert given[0] == given[1], "one person has one nullifier of this kind"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"allow_legacy_proofs": False}, "malformed_request"),
        ({"action": ""}, "malformed_request"),
        ({"signal": "none"}, "malformed_request"),
        ({"app_id": "app_staging_another"}, "malformed_request"),
        ({"verification_level": "device"}, "credential_unavailable"),
        ({"environment": "sandbox"}, "invalid_network"),
    ],
)
async def test_a_request_for_a_legacy_proof_that_it_cannot_make(
    simulated: Simulation, page: Page, changes: dict[str, Any], code: str
) -> None:
    uri = await page.leave(legacy_request(page, **changes))
    assert await scan(simulated, uri) == (200, {"success": False, "error": code})


@pytest.mark.parametrize("message", [None, 1, "text", []])
async def test_a_request_that_is_none(simulated: Simulation, page: Page, message: Any) -> None:
    uri = await page.leave(message)
    assert await scan(simulated, uri) == (200, {"success": False, "error": "malformed_request"})
    assert await page.answer() == {"error_code": "malformed_request"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"t": "other"}, "not a link"),
        ({"t": None}, "not a link"),
        ({"i": None}, "not a link"),
        ({"k": None}, "not a link"),
        ({"k": "AAAA"}, "not a link"),
        ({"k": "?"}, "not a link"),
        ({"b": None}, "World's own bridge"),
        ({"i": "00000000-0000-4000-8000-000000000000"}, "no such request"),
        ({"k": b64encode(bytes(32)).decode()}, "does not decrypt"),
    ],
)
async def test_a_link_that_cannot_be_answered(
    simulated: Simulation, page: Page, changes: dict[str, str | None], why: str
) -> None:
    await page.leave(page.request({}))
    status, answer = await scan(simulated, page.link(**changes))
    assert (status, answer["code"]) == (400, "bad_link")
    assert why in answer["detail"]


async def test_a_link_is_answered_once(simulated: Simulation, page: Page) -> None:
    uri = await page.leave(page.request({}))
    assert (await scan(simulated, uri, reject=True))[1] == {"success": False, "error": "user_rejected"}
    status, answer = await scan(simulated, uri)
    assert (status, answer["code"]) == (400, "bad_link")
    assert await page.answer() == {"error_code": "user_rejected"}


@pytest.mark.parametrize("uri", ["", "nonsense", "http://[", "https://world.org/verify"])
async def test_what_is_no_link(simulated: Simulation, uri: str) -> None:
    status, answer = await scan(simulated, uri)
    assert (status, answer["code"]) == (400, "bad_link")


@pytest.mark.parametrize(
    "body", [{}, {"person": "Ana"}, {"person": "", "uri": ""}, {"person": "Ana", "uri": "", "x": 1}]
)
async def test_a_scan_that_is_none(simulated: Simulation, body: dict[str, Any]) -> None:
    response = await simulated.client.post("/simulator/scan", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


# The page


async def test_the_page_names_the_link_and_guards_itself(simulated: Simulation, page: Page) -> None:
    uri = await page.leave(page.request({}))
    query = uri.partition("?")[2]
    response = await simulated.client.get(f"/verify?{query}&x=%22%3E%3Cscript%3E")
    assert response.status_code == 200
    assert f'value="{simulated.url}/verify?t=wld&amp;i=' in response.text
    assert "<script" not in response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"person": "Ana", "decision": "approve"}, 200, "Approved as Ana."),
        ({"person": "<i>", "decision": "approve"}, 200, "Approved as &lt;i&gt;."),
        ({"person": "Ana", "decision": "reject"}, 200, "user_rejected"),
        ({"person": "Ana"}, 200, "user_rejected"),
        ({"person": "Ana", "decision": "approve", "legacy": "yes"}, 200, "world_id_4_not_available"),
        ({"person": "", "decision": "approve"}, 400, "Enter a name."),
        ({"person": "A" * 101, "decision": "approve"}, 400, "Enter a name."),
        ({"person": "Ana", "decision": "approve", "uri": "nonsense"}, 400, "not a link"),
    ],
)
async def test_the_form_says_what_became_of_it(
    simulated: Simulation, page: Page, fields: dict[str, str], status: int, text: str
) -> None:
    uri = await page.leave(page.request({}))
    response = await simulated.client.post("/verify", data={"uri": uri} | fields)
    assert response.status_code == status
    assert text in response.text
