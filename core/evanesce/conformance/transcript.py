"""The format of a transcript: its steps as types, and how a file is read.

An unknown key, a missing one or a wrong value is an error that names the file, the step and the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evanesce.errors import EvanesceError

Json = Any
"""A JSON value as Python has it."""

Seconds = Annotated[float, Meta(ge=0, le=120)]
Bound = Seconds | Annotated[str, Meta(pattern=r"^\$\w+\Z")]
"""So many seconds, or the time that a variable holds."""


class _Step(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    why: str = ""
    """What the protocol says about this step; shown when it fails."""


class AcceptOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """When the connection has to come, in seconds since the last accepted one ended, and what its address must be."""

    not_before: Seconds = 0
    within: Seconds | None = None
    spread: Seconds = 0
    """By so many seconds the longest delay since the last accepted connection ended has to exceed the shortest."""
    unhinted_in_last: Annotated[int, Meta(ge=1, le=10)] | None = None
    """In the addresses of so many connections, up to this one, at least one has to name no room."""


class Accept(_Step, kw_only=True, frozen=True):
    """Accept the next connection of the client."""

    accept: AcceptOptions


class Refuse(_Step, kw_only=True, frozen=True):
    """Refuse the next connection: reset it, or answer its handshake with HTTP 503."""

    refuse: Literal["tcp", 503]
    within: Seconds | None = None


class _Expectation(_Step, kw_only=True, frozen=True):
    not_before: Bound = 0
    """Seconds since the last thing that the server or the runner did, or a time of the server's clock."""
    within: Seconds | None = None
    """Seconds until the expectation fails; counted from its beginning."""


class ClientSends(_Expectation, kw_only=True, frozen=True):
    """The next frame of the client matches."""

    client: dict[str, Json]
    absent: list[str] = []


class Told(_Expectation, kw_only=True, frozen=True):
    """The next line that the driver writes, other than a state, matches."""

    event: dict[str, Json]
    absent: list[str] = []


class State(_Expectation, kw_only=True, frozen=True):
    """The driver writes this state of the connection; other states before it are passed over."""

    state: str
    fields: dict[str, Json] = {}


class ServerSends(_Step, kw_only=True, frozen=True):
    """The server sends one frame."""

    server: Annotated[list[dict[str, Json]], Meta(min_length=1)]
    frame_bytes: Annotated[int, Meta(ge=0, le=262_144)] = 0
    """An unknown field of the first object fills the frame up to this size."""


class Ping(_Step, kw_only=True, frozen=True):
    """The server sends a ping of the WebSocket protocol, and gets the pong."""

    ping: Literal[True]


class Close(_Step, kw_only=True, frozen=True):
    """The server closes the WebSocket with this code."""

    close: Annotated[int, Meta(ge=1000, le=4999)]
    reason: str = ""


class Kill(_Step, kw_only=True, frozen=True):
    """The server resets the TCP connection."""

    kill: Literal[True]


class Stall(_Step, kw_only=True, frozen=True):
    """For so many seconds the server reads nothing and sends nothing; the connection stays open."""

    stall: Seconds


class Freeze(_Step, kw_only=True, frozen=True):
    """For so many seconds the client's process is stopped. Steps in `during` happen at the beginning of this time."""

    freeze: Seconds
    during: list[dict[str, Json]] = []


class Do(_Step, kw_only=True, frozen=True):
    """Write a line to the driver."""

    do: dict[str, Json]


class Quiet(_Step, kw_only=True, frozen=True):
    """For so many seconds nothing comes: no connection, no frame but `ping`, no event."""

    quiet: Seconds


class AnyOrder(_Step, kw_only=True, frozen=True):
    """These expectations come true in whichever order."""

    any_order: Annotated[list[dict[str, Json]], Meta(min_length=2)]


Expectation = ClientSends | Told | State
Step = Accept | Refuse | Expectation | ServerSends | Ping | Close | Kill | Stall | Freeze | Do | Quiet | AnyOrder

KINDS: dict[str, type[Step]] = {
    "accept": Accept,
    "refuse": Refuse,
    "client": ClientSends,
    "event": Told,
    "state": State,
    "server": ServerSends,
    "ping": Ping,
    "close": Close,
    "kill": Kill,
    "stall": Stall,
    "freeze": Freeze,
    "do": Do,
    "quiet": Quiet,
    "any_order": AnyOrder,
}


class TranscriptError(EvanesceError):
    """A transcript is not of the format. The text names the file, the step and the key."""


class _File(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
    about: Annotated[str, Meta(min_length=1)]
    protocol: Annotated[str, Meta(min_length=1)]
    clock_offset: Annotated[float, Meta(ge=-86_400, le=86_400)] = 0
    steps: Annotated[list[dict[str, Json]], Meta(min_length=1)]


class Transcript(msgspec.Struct, kw_only=True, frozen=True):
    """A conversation: what it is about, what the protocol says about it, and its steps.

    `clock_offset` is by how many seconds the server's clock is ahead of the client's; negative: behind.
    """

    name: str
    about: str
    protocol: str
    clock_offset: float
    steps: list[Step]
    sources: list[dict[str, Json]]
    """The steps as the file has them, for reports."""


def nested(step: AnyOrder | Freeze) -> list[Step]:
    """Return the steps within a step. They were checked when the file was read."""
    return [_step(one, "") for one in (step.any_order if isinstance(step, AnyOrder) else step.during)]


def read(data: bytes, origin: str) -> Transcript:
    """Read a transcript from the text of a file. Raises `TranscriptError`."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TranscriptError(f"{origin}: {error}") from None
    if f"{file.name}.json" != origin:
        raise TranscriptError(f"{origin}: `name` must be that of the file, and is {file.name}")
    steps = [_step(step, f"{origin}: steps[{place}]") for place, step in enumerate(file.steps)]
    return Transcript(
        name=file.name,
        about=file.about,
        protocol=file.protocol,
        clock_offset=file.clock_offset,
        steps=steps,
        sources=file.steps,
    )


def _step(source: dict[str, Json], place: str) -> Step:
    kinds = [key for key in source if key in KINDS]
    if len(kinds) != 1:
        known = ", ".join(KINDS)
        raise TranscriptError(f"{place}: a step has exactly one of the keys {known}; this one has {kinds or 'none'}")
    try:
        step = msgspec.convert(source, KINDS[kinds[0]])
    except msgspec.ValidationError as error:
        raise TranscriptError(f"{place}: {error}") from None
    if isinstance(step, AnyOrder):
        for number, inner in enumerate(step.any_order):
            inner_place = f"{place}.any_order[{number}]"
            if not isinstance(_step(inner, inner_place), Expectation):
                raise TranscriptError(f"{inner_place}: only client, event and state can come in any order")
    if isinstance(step, Freeze):
        for number, inner in enumerate(step.during):
            inner_place = f"{place}.during[{number}]"
            if not isinstance(_step(inner, inner_place), ServerSends | Close | Kill):
                raise TranscriptError(f"{inner_place}: only server, close and kill can happen to a stopped client")
    return step


def shipped() -> dict[str, Transcript]:
    """Return the transcripts that come with Evanesce, by name. Raises `TranscriptError`."""
    return read_folder(files("evanesce.conformance") / "transcripts")


def read_folder(folder: Traversable) -> dict[str, Transcript]:
    """Return the transcripts of a folder, by name. Raises `TranscriptError`."""
    transcripts = (read(file.read_bytes(), file.name) for file in _json_files(folder))
    return {transcript.name: transcript for transcript in transcripts}


def _json_files(folder: Traversable) -> Iterator[Traversable]:
    return iter(sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name))
