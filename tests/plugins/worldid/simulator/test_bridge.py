"""The bridge over HTTP, which returns each message once and keeps it for 15 minutes, and its encryption."""

from __future__ import annotations

import uuid
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_plugins.worldid.simulator.bridge import MOST, Bridge, Envelope, Status, seal, unseal
from tests.worldid.simulation import Clock, Simulation

KEY = bytes(range(32))

REQUEST = {"iv": "aXY=", "payload": "cmVxdWVzdA=="}
RESPONSE = {"iv": "aXYy", "payload": "cmVzcG9uc2U="}


async def left(simulated: Simulation) -> str:
    response = await simulated.client.post("/request", json=REQUEST)
    assert response.status_code == 200
    assert set(response.json()) == {"request_id"}
    key: str = response.json()["request_id"]
    assert str(uuid.UUID(key)) == key
    return key


async def polled(simulated: Simulation, key: str) -> tuple[int, Any]:
    response = await simulated.client.get(f"/response/{key}")
    return response.status_code, response.json() if response.status_code == 200 else response.text


async def test_a_request_and_its_answer_cross_once(simulated: Simulation) -> None:
    key = await left(simulated)
    assert await polled(simulated, key) == (200, {"status": "initialized", "response": None})
    assert (await simulated.client.head(f"/request/{key}")).status_code == 200
    assert await polled(simulated, key) == (200, {"status": "initialized", "response": None})
    taken = await simulated.client.get(f"/request/{key.upper()}")
    assert (taken.status_code, taken.json()) == (200, REQUEST)
    assert await polled(simulated, key) == (200, {"status": "retrieved", "response": None})
    assert (await simulated.client.get(f"/request/{key}")).status_code == 404
    assert (await simulated.client.head(f"/request/{key}")).status_code == 404
    assert (await simulated.client.put(f"/response/{key}", json=RESPONSE)).status_code == 201
    assert (await simulated.client.put(f"/response/{key}", json=REQUEST)).status_code == 409
    assert await polled(simulated, key) == (200, {"status": "completed", "response": RESPONSE})
    assert await polled(simulated, key) == (404, "")


async def test_what_is_not_there(simulated: Simulation) -> None:
    key = str(uuid.uuid4())
    assert (await simulated.client.get(f"/request/{key}")).status_code == 404
    assert (await simulated.client.head(f"/request/{key}")).status_code == 404
    assert (await simulated.client.put(f"/response/{key}", json=RESPONSE)).status_code == 400
    assert await polled(simulated, key) == (404, "")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"iv": 1, "payload": "x"}', b"[]", b"\xff"])
async def test_what_is_no_message(simulated: Simulation, body: bytes) -> None:
    assert (await simulated.client.post("/request", content=body)).status_code == 400
    key = await left(simulated)
    assert (await simulated.client.put(f"/response/{key}", content=body)).status_code == 400
    assert await polled(simulated, key) == (200, {"status": "initialized", "response": None})


async def test_a_request_lives_a_quarter_of_an_hour(simulated: Simulation) -> None:
    key = await left(simulated)
    simulated.clock.now += 15 * 60 - 1
    assert (await polled(simulated, key))[0] == 200
    assert (await simulated.client.get(f"/request/{key}")).status_code == 200
    simulated.clock.now += 1
    assert (await polled(simulated, key))[0] == 404
    assert (await simulated.client.put(f"/response/{key}", json=RESPONSE)).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "/request"), ("GET", "/response/x"), ("PUT", "/response/x")])
async def test_pages_of_any_origin_may_use_it(simulated: Simulation, method: str, path: str) -> None:
    headers = {
        "Origin": "https://chat.example",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type, user-agent",
    }
    preflight = await simulated.client.request("OPTIONS", path, headers=headers)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert method in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Allow-Headers"] == "*"
    response = await simulated.client.request(method, path, headers={"Origin": "https://chat.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_other_parts_are_for_no_page(simulated: Simulation) -> None:
    for path in ("/simulator/fault", "/simulator/scan", "/simulator/prove", "/verify"):
        response = await simulated.client.post(path, content=b"{}", headers={"Origin": "https://chat.example"})
        assert "Access-Control-Allow-Origin" not in response.headers


def test_the_oldest_request_makes_room() -> None:
    clock = Clock()
    bridge = Bridge(clock)
    envelope = Envelope(iv="aXY=", payload="cmVxdWVzdA==")
    first, second, *others = [bridge.leave(envelope) for _ in range(MOST)]
    assert bridge.waits(first)
    last = bridge.leave(envelope)
    assert not bridge.waits(first)
    assert all(bridge.waits(key) for key in (second, *others, last))


def test_what_has_run_out_makes_room_first() -> None:
    clock = Clock()
    bridge = Bridge(clock)
    envelope = Envelope(iv="aXY=", payload="cmVxdWVzdA==")
    for _ in range(MOST - 1):
        bridge.leave(envelope)
    clock.now += 10 * 60
    kept = bridge.leave(envelope)
    clock.now += 5 * 60
    bridge.leave(envelope)
    assert bridge.waits(kept)
    assert bridge.poll(kept) == (Status.INITIALIZED, None)


def test_a_published_vector_opens() -> None:
    # NIST's GCM example 14 (AES-256, an IV of 12 zero bytes, one block of zeros, no further data).
    payload = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919")
    envelope = Envelope(iv=b64encode(bytes(12)).decode(), payload=b64encode(payload).decode())
    assert unseal(bytes(32), envelope) == bytes(16)


@given(st.binary(max_size=300))
def test_what_is_sealed_is_opened(message: bytes) -> None:
    envelope = seal(KEY, message)
    assert unseal(KEY, envelope) == message
    assert envelope.iv != seal(KEY, message).iv
    assert len(b64decode(envelope.payload)) == len(message) + 16


@given(st.integers(min_value=0))
def test_a_changed_message_does_not_open(position: int) -> None:
    envelope = seal(KEY, b"a message")
    payload = bytearray(b64decode(envelope.payload))
    payload[position % len(payload)] ^= 1
    with pytest.raises(ValueError, match="MAC"):
        unseal(KEY, Envelope(iv=envelope.iv, payload=b64encode(payload).decode()))


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope(iv="", payload=""),
        Envelope(iv="AAAA", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="AAAA"),
        Envelope(iv="?", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="é"),
        Envelope(iv="AAAAAAAAAAAAAAAA", payload="AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
)
def test_what_is_no_envelope_does_not_open(envelope: Envelope) -> None:
    with pytest.raises(ValueError, match=r"base64|envelope|MAC|ASCII"):
        unseal(KEY, envelope)
