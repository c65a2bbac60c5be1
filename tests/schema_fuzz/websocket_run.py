"""Play generated frames to a server over WebSocket, and hold every answer against the schema and the protocol."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.patience import PATIENCE
from tests.schema_fuzz.expectations import ENDS, SIGN_IN_AGAIN, Finding, check_answer
from tests.schema_fuzz.frames import Frame, FrameMaker, Kind, Known
from tests.schemas import EventSchemas, Json

FRAME_BYTES = 256 * 1024
BURST = 5
"""How many frames are sent before the answers are read."""

MOST_BAD = 10
"""How many bad frames are sent in a row at most: 20 end a connection."""

BEFORE_HELLO = 6
"""How many frames a connection sends before it signs in."""

ALONE = ENDS | {"hello"}
"""Commands that may end the connection: nothing is sent beside them."""

SETTINGS = (
    "limits.burst=100000",
    "limits.commands_before_hello=100000",
    "limits.commands_per_second=100000",
    "limits.connections_per_address=100000",
    "limits.connections_per_user=100000",
    "limits.handshakes_per_second=100000",
    "limits.joins_per_second=100000",
    "limits.members_per_second=100000",
    "limits.messages_per_second=100000",
    "limits.renames_per_minute=100000",
    "limits.rooms_per_hour=100000",
    "limits.rooms_per_user=100000",
)
"""Settings of a server under test: without them most answers would be `rate_limited`."""

Tamper = Callable[[str], str | None]
"""Changes a frame of the server before it is looked at, as a faulty server would; None swallows it."""


@dataclass
class Report:
    """What was sent and answered: how many frames of each kind, and which answers to each command."""

    frames: dict[str, int] = field(default_factory=dict[str, int])
    answers: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    secrets: set[str] = field(default_factory=set[str])
    """What must be in no log."""


class WebSocketRun:
    """Connections to one server, one after the other, which send what the schema allows and what it does not.

    `answer_seconds` is how long a frame may wait for its answer. Raises `Finding`, with the seed's number of the frame.
    """

    def __init__(
        self,
        port: int,
        document: dict[str, Json],
        seed: int,
        *,
        tamper: Tamper = lambda text: text,
        answer_seconds: float = PATIENCE,
    ) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self._known = Known(f"canary{self._chance.getrandbits(64):x}")
        self._maker = FrameMaker(document, self._chance, self._known)
        self.replies = {
            schema["properties"]["type"]["enum"][0]: str(schema["x-reply"])
            for schema in document["$defs"].values()
            if "x-reply" in schema
        }
        self._schemas = EventSchemas(document)
        self._tamper = tamper
        self._answer_seconds = answer_seconds
        self._signed_in = False
        self._bad_in_a_row = 0
        self.report = Report(secrets={self._known.canary})

    async def play(self, frames: int) -> Report:
        """Send so many frames over as many connections as it takes, and return what was seen."""
        async with self._connection() as other:
            await self._sign_in(other)  # somebody else, whom commands may concern
            self._known.people.append(self._known.user_id)
            sent = 0
            while sent < frames:
                self._signed_in = False
                async with self._connection() as socket:
                    sent += await self._one_connection(socket, frames - sent)
        return self.report

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[WebSocketConnection]:
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream, trio.open_nursery() as nursery:
            socket = await wrap_client_stream(
                nursery, stream, f"127.0.0.1:{self._port}", "/ws", subprotocols=["evanesce.v1"]
            )
            yield socket
            await socket.aclose()

    async def _one_connection(self, socket: WebSocketConnection, most: int) -> int:
        """Send frames until the server has closed the connection for a reason, and return how many."""
        sent = 0
        for _ in range(BEFORE_HELLO):
            sent += 1
            if not await self._exchange(socket, [self._next()]):
                return sent
        if not self._signed_in:
            await self._sign_in(socket)
        for _ in range(3):
            await self._exchange(socket, [self._maker.valid("create_room", access="link", encrypted=False)])
            await self._exchange(socket, [self._maker.valid("join", roomId=self._known.rooms[-1])])
        while sent < most:
            burst = self._burst()
            sent += len(burst)
            if not await self._exchange(socket, burst):
                return sent
        return sent

    def _burst(self) -> list[Frame]:
        """Return some frames to send at once: only one without a `ref`, as nobody could tell the answers to others."""
        drawn = [self._next() for _ in range(self._chance.randint(1, BURST))]
        alone = next((frame for frame in drawn if frame.command in ALONE), None)
        without_ref = [frame for frame in drawn if frame.ref is None]
        return [alone] if alone else [frame for frame in drawn if frame not in without_ref[1:]]

    async def _sign_in(self, socket: WebSocketConnection) -> None:
        credential = {"provider": "guest", "displayName": self._known.canary}
        frame = self._maker.valid("hello", credential=credential)
        frame.fields.pop("token", None)
        frame = Frame(json.dumps(frame.fields), Kind.VALID, frame.ref, "hello", frame.fields, plain=True)
        await self._exchange(socket, [frame])
        if not self._signed_in:
            raise Finding("a guest was not signed in")

    def _next(self) -> Frame:
        drawn = self._chance.random()
        bad_again = self._bad_in_a_row >= MOST_BAD
        if drawn < 0.15 and not bad_again:
            frame = self._maker.hostile()
        else:
            command = self._chance.choice(self._maker.commands)
            if command in ALONE and self._chance.random() < 0.7:  # most connections are to last
                command = self._chance.choice(self._maker.commands)
            mutates = drawn < 0.55 and not bad_again
            frame = self._maker.mutated(command) if mutates else self._maker.valid(command)
        self._bad_in_a_row = 0 if frame.kind is Kind.VALID else self._bad_in_a_row + 1
        return frame

    async def _exchange(self, socket: WebSocketConnection, burst: Sequence[Frame]) -> bool:
        """Send frames, and read until each has its answer. Return whether the connection is still open."""
        waiting = list(burst)
        ends = False
        with trio.move_on_after(self._answer_seconds):
            for frame in burst:
                self.report.frames[frame.kind.value] = self.report.frames.get(frame.kind.value, 0) + 1
                await socket.send_message(frame.data)
            while waiting or ends:
                try:
                    text = await socket.get_message()
                except ConnectionClosed as closed:
                    code = None if closed.reason is None else closed.reason.code
                    if ends and code == SIGN_IN_AGAIN:
                        self._signed_in = False
                        return False
                    raise Finding(f"the connection was closed with {code} after {_names(burst)}") from None
                for event in self._read(self._tamper(text)):
                    if frame := self._answered(event, waiting):
                        waiting.remove(frame)
                        ends = ends or self._take_answer(frame, event)
                    self._take_event(event, ends=ends)
            return True
        raise Finding(f"no answer to {_names(waiting)}" if waiting else "the connection was not closed")

    def _read(self, text: str | None) -> list[dict[str, Json]]:
        if text is None:
            return []
        if len(text.encode()) > FRAME_BYTES:
            raise Finding("a frame of the server is too large")
        events = json.loads(text)
        if not isinstance(events, list) or not events:
            raise Finding("a frame of the server is no array of events")
        for event in events:
            if not isinstance(event, dict) or event.get("type") not in self._schemas.types:
                raise Finding("an event of the server has no type of the schema")
            try:
                self._schemas.check(event)
            except AssertionError as wrong:
                raise Finding(str(wrong)) from None
        return events

    def _answered(self, event: dict[str, Json], waiting: Sequence[Frame]) -> Frame | None:
        """Return the frame that `event` answers; None for an event that is no answer."""
        is_answer = event["type"] in {*self.replies.values(), "error"} and (
            "ref" in event or event["type"] not in self._schemas.events
        )
        if not is_answer:
            return None
        for frame in waiting:
            if frame.ref == event.get("ref") and type(frame.ref) is type(event.get("ref")):
                return frame
        got = event.get("code", event["type"])
        raise Finding(f"{got} with ref {event.get('ref')!r} answers none of {_names(waiting)}")

    def _take_answer(self, frame: Frame, answer: dict[str, Json]) -> bool:
        """Check an answer, learn from it, and return whether the connection has to be closed now."""
        check_answer(frame, answer, self.replies.get(frame.command, ""), signed_in=self._signed_in)
        name = answer["code"] if answer["type"] == "error" else answer["type"]
        self.report.answers.setdefault(frame.command, set()).add(name)
        if answer["type"] == "error":
            return bool(frame.command == "hello" and answer["code"] == "invalid_token")
        self._learn(answer)
        return frame.command in ENDS

    def _learn(self, answer: dict[str, Json]) -> None:
        known = self._known
        if answer["type"] == "welcome":
            self._signed_in, known.user_id = True, answer["userId"]
            known.token = answer.get("token", known.token)
        for name, kept in (
            ("roomId", known.rooms),
            ("messageId", known.messages),
            ("inviteId", known.invites),
            ("cursor", known.cursors),
        ):
            if name in answer and answer[name] not in kept:
                kept.append(answer[name])
                del kept[:-10]
        if answer["type"] == "sent":
            known.sent[answer["roomId"]] = answer["messageId"]
        if answer["type"] == "invite":
            secret = answer["link"].rpartition("=")[2]
            known.secrets.append(secret)
            self.report.secrets.add(secret)
        if "token" in answer:
            self.report.secrets.add(answer["token"])

    def _take_event(self, event: dict[str, Any], *, ends: bool) -> None:
        if event["type"] == "goodbye" and not (ends and event["code"] == SIGN_IN_AGAIN):
            raise Finding(f"the server takes its leave with {event['code']}")


def check_log(log: str, secrets: set[str]) -> None:
    """Raise `Finding` if a log tells of a fault, or holds one of `secrets`. The finding does not repeat them."""
    for word in ("Traceback", " ERROR ", " CRITICAL "):
        if word in log:
            raise Finding(f"the log has {word.strip()}: {log[log.index(word) - 200 :][:2000]}")
    if any(secret in log for secret in secrets):
        raise Finding("the log has content, a token or the secret of an invite")


def _names(frames: Sequence[Frame]) -> str:
    return ", ".join(f"{frame.kind.value} {frame.command}: {frame.data[:300]!r}" for frame in frames)
