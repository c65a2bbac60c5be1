"""The bridge, by which page and phone exchange one encrypted message each: World's Wallet Bridge, in memory.

Messages are JSON under AES-256-GCM, and the bridge has no key. Its routes are at the root of its address, because IDKit
drops any path of `bridge_url`.
"""

from __future__ import annotations

import binascii
import enum
import secrets
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from Crypto.Cipher import AES
from quart import Blueprint, Response, request

from evanesce_plugins.worldid.simulator import responses

LIFE_SECONDS = 15 * 60
"""How long a request and its response are stored."""

MOST = 1_000
"""The most stored requests. For a further one the oldest is dropped."""

KEY_BYTES = 32

_IV_BYTES = 12
_TAG_BYTES = 16


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An encrypted message. Both fields are base64, and the payload ends with the tag."""

    iv: str
    payload: str


def seal(key: bytes, message: bytes) -> Envelope:
    """Encrypt `message` with a new random IV."""
    iv = secrets.token_bytes(_IV_BYTES)
    sealed, tag = AES.new(key, AES.MODE_GCM, nonce=iv).encrypt_and_digest(message)
    return Envelope(iv=b64encode(iv).decode(), payload=b64encode(sealed + tag).decode())


def unseal(key: bytes, envelope: Envelope) -> bytes:
    """Decrypt an envelope. Raises `ValueError` where it is malformed, or encrypted with another key."""
    iv, payload = read_base64(envelope.iv), read_base64(envelope.payload)
    if len(iv) != _IV_BYTES or len(payload) < _TAG_BYTES:
        raise ValueError("an envelope has 12 bytes of IV, and at least the tag")
    return AES.new(key, AES.MODE_GCM, nonce=iv).decrypt_and_verify(payload[:-_TAG_BYTES], payload[-_TAG_BYTES:])


def read_base64(text: str) -> bytes:
    """Decode base64 with its padding. Raises `ValueError`."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("this is not base64") from None


class Status(enum.StrEnum):
    """The state of a request."""

    INITIALIZED = "initialized"
    RETRIEVED = "retrieved"
    COMPLETED = "completed"


@dataclass(slots=True)
class _Entry:
    ends_at: float
    request: Envelope | None
    response: Envelope | None = None

    @property
    def status(self) -> Status:
        if self.response is not None:
            return Status.COMPLETED
        return Status.INITIALIZED if self.request is not None else Status.RETRIEVED


class Bridge:
    """Stores requests and responses. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def leave(self, envelope: Envelope) -> str:
        """Store a page's request, and return its id."""
        now = self._clock()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.ends_at > now}
        while len(self._entries) >= MOST:
            del self._entries[next(iter(self._entries))]
        key = str(uuid.uuid4())
        self._entries[key] = _Entry(now + LIFE_SECONDS, envelope)
        return key

    def waits(self, key: str) -> bool:
        """Return whether a request waits for a phone."""
        entry = self._entry(key)
        return entry is not None and entry.request is not None

    def take(self, key: str) -> Envelope | None:
        """Return a request to a phone, once; None where there is none."""
        entry = self._entry(key)
        if entry is None:
            return None
        taken, entry.request = entry.request, None
        return taken

    def answer(self, key: str, envelope: Envelope) -> int:
        """Store a phone's response, and return the HTTP status of the result."""
        entry = self._entry(key)
        if entry is None:
            return 400
        if entry.response is not None:
            return 409
        entry.response = envelope
        return 201

    def poll(self, key: str) -> tuple[Status, Envelope | None] | None:
        """Return the state of a request and, once, its response; None for an unknown or expired one."""
        entry = self._entry(key)
        if entry is None:
            return None
        if entry.response is not None:
            del self._entries[key.lower()]
        return entry.status, entry.response

    def _entry(self, key: str) -> _Entry | None:
        entry = self._entries.get(key.lower())
        return entry if entry is not None and entry.ends_at > self._clock() else None


def bridge_blueprint(bridge: Bridge) -> Blueprint:
    """Return the bridge's routes, for pages of any origin."""
    blueprint = Blueprint("bridge", __name__)

    @blueprint.after_request
    async def for_any_page(response: Response) -> Response:
        response.headers.update(responses.CORS)
        return response

    @blueprint.errorhandler(msgspec.DecodeError)
    async def malformed(error: msgspec.DecodeError) -> Response:
        return responses.empty(400)

    @blueprint.post("/request")
    async def leave() -> Response:
        return responses.json({"request_id": bridge.leave(await _envelope())})

    @blueprint.get("/request/<key>")
    async def take(key: str) -> Response:
        if request.method == "HEAD":  # HEAD requests come here too, and must not take the request
            return responses.empty(200 if bridge.waits(key) else 404)
        envelope = bridge.take(key)
        return responses.empty(404) if envelope is None else responses.json(envelope)

    @blueprint.put("/response/<key>")
    async def answer(key: str) -> Response:
        return responses.empty(bridge.answer(key, await _envelope()))

    @blueprint.get("/response/<key>")
    async def poll(key: str) -> Response:
        found = bridge.poll(key)
        if found is None:
            return responses.empty(404)
        status, response = found
        return responses.json({"status": status, "response": response})

    return blueprint


async def _envelope() -> Envelope:
    body: bytes = await request.body
    return msgspec.json.decode(body, type=Envelope)
