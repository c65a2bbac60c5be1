"""The bridge, on which page and phone leave each other one sealed message each: World's Wallet Bridge, in memory.

It speaks at the root of its address, for IDKit drops any path of `bridge_url`.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from quart import Blueprint, Response, request

from evanesce_plugins.worldid.simulator import replies
from evanesce_plugins.worldid.simulator.envelope import Envelope

LIFE_SECONDS = 15 * 60
"""How long a request lives, with its answer."""

MOST = 1_000
"""How many requests live at the same time; one more, and the oldest is dropped."""


class Status(enum.StrEnum):
    """How far a request has come."""

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
    """Keeps what is on its way. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def leave(self, envelope: Envelope) -> str:
        """Keep a page's request; gives its id."""
        now = self._clock()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.ends_at > now}
        while len(self._entries) >= MOST:
            del self._entries[next(iter(self._entries))]
        key = str(uuid.uuid4())
        self._entries[key] = _Entry(now + LIFE_SECONDS, envelope)
        return key

    def waits(self, key: str) -> bool:
        """Whether a request waits for a phone."""
        entry = self._entry(key)
        return entry is not None and entry.request is not None

    def take(self, key: str) -> Envelope | None:
        """Give a request to a phone, once; None where there is none."""
        entry = self._entry(key)
        if entry is None:
            return None
        taken, entry.request = entry.request, None
        return taken

    def answer(self, key: str, envelope: Envelope) -> int:
        """Keep a phone's answer; gives the HTTP status that says how that went."""
        entry = self._entry(key)
        if entry is None:
            return 400
        if entry.response is not None:
            return 409
        entry.response = envelope
        return 201

    def poll(self, key: str) -> tuple[Status, Envelope | None] | None:
        """Say how far a request has come, and give its answer, once; None where there is none any more."""
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
    """Give the bridge's routes, for pages of any origin."""
    blueprint = Blueprint("bridge", __name__)

    @blueprint.after_request
    async def for_any_page(response: Response) -> Response:
        response.headers.update(replies.CORS)
        return response

    @blueprint.errorhandler(msgspec.DecodeError)
    async def malformed(error: msgspec.DecodeError) -> Response:
        return replies.empty(400)

    @blueprint.post("/request")
    async def leave() -> Response:
        return replies.json({"request_id": bridge.leave(await _envelope())})

    @blueprint.get("/request/<key>")
    async def take(key: str) -> Response:
        if request.method == "HEAD":  # which comes here too, and only looks
            return replies.empty(200 if bridge.waits(key) else 404)
        envelope = bridge.take(key)
        return replies.empty(404) if envelope is None else replies.json(envelope)

    @blueprint.put("/response/<key>")
    async def answer(key: str) -> Response:
        return replies.empty(bridge.answer(key, await _envelope()))

    @blueprint.get("/response/<key>")
    async def poll(key: str) -> Response:
        found = bridge.poll(key)
        if found is None:
            return replies.empty(404)
        status, response = found
        return replies.json({"status": status, "response": response})

    return blueprint


async def _envelope() -> Envelope:
    body: bytes = await request.body
    return msgspec.json.decode(body, type=Envelope)
