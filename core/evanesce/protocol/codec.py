"""Frames: from a client's bytes to a command, from replies and events to bytes.

Malformed JSON costs no more than well-formed: nesting is bounded before anything recurses, and what a command
does not name is skipped, not built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import msgspec

from evanesce.errors import CommandError, ErrorCode
from evanesce.protocol.commands import AnyCommand, Challenge, Command, Ref
from evanesce.protocol.events import ChallengeReply, Error, Event, Reply

FRAME_BYTES = 256 * 1024
"""The largest frame that a server sends."""

MAX_DEPTH = 32
"""The deepest nesting of a client's frame."""

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | float | bool | None"

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_FIELD = re.compile(r"`\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")

_commands: dict[str, msgspec.json.Decoder[Any]] = {
    str(kind.__struct_config__.tag): msgspec.json.Decoder(kind) for kind in get_args(AnyCommand)
}
_any_command: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_challenge: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


class Undecodable(CommandError):
    """A frame that is no command; `ref` is the frame's own, where it has a lawful one."""

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None, ref: Ref | None = None) -> None:
        super().__init__(code, message, field=field)
        self.ref = ref


def decode(frame: str | bytes) -> AnyCommand:
    """Read one frame, as text (`str`); anything binary (`bytes`) is no frame of this protocol.

    Raises `Undecodable`: `bad_frame`, `unknown_type`, or `bad_request` with the field.
    """
    if isinstance(frame, bytes):
        raise Undecodable(ErrorCode.BAD_FRAME, "A frame is text, not binary: one JSON object.")
    if _nested_too_deep(frame):
        raise Undecodable(ErrorCode.BAD_FRAME, f"A frame nests at most {MAX_DEPTH} deep.")
    try:
        command = _any_command.decode(frame)
    except msgspec.ValidationError:
        raise _explain(frame) from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Undecodable(ErrorCode.BAD_FRAME, "A frame is one JSON object.") from None
    return _with_request(command, frame) if isinstance(command, Challenge) else command


def _with_request(command: Challenge, frame: str) -> Challenge:
    """Add to a challenge what its provider asks for: all the fields beside the protocol's own."""
    try:
        fields = _challenge.decode(frame)
    except msgspec.ValidationError as error:
        raise Undecodable(ErrorCode.BAD_REQUEST, wording(error), field=field_of(error), ref=command.ref) from None
    request = {key: value for key, value in fields.items() if key not in ("type", "ref", "provider")}
    return msgspec.structs.replace(command, request=request)


def _nested_too_deep(frame: str) -> bool:
    if frame.count("{") + frame.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(frame):
        mark = token.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in "]}":
            depth -= 1
    return False


def _explain(frame: str) -> Undecodable:
    """Say what is wrong with a frame that is JSON but no command."""
    try:
        fields = _object.decode(frame)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(ErrorCode.BAD_FRAME, "A frame is one JSON object.")
    ref: Ref | None = None
    if "ref" in fields:
        try:
            ref = msgspec.json.decode(fields["ref"], type=Ref)
        except (msgspec.DecodeError, ValueError):
            message = "`ref` is a text of 1 to 64 characters or an integer of at most 53 bits."
            return Undecodable(ErrorCode.BAD_REQUEST, message, field="ref")
    try:
        kind = msgspec.json.decode(fields.get("type", b"null"), type=str)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(ErrorCode.BAD_REQUEST, "`type` names the command, as text.", field="type", ref=ref)
    decoder = _commands.get(kind)
    if decoder is None:
        return Undecodable(ErrorCode.UNKNOWN_TYPE, "There is no such command.", ref=ref)
    try:
        decoder.decode(frame)
    except msgspec.ValidationError as error:
        field = field_of(error)
        return Undecodable(ErrorCode.BAD_REQUEST, wording(error), field=field, ref=ref)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(ErrorCode.BAD_FRAME, "A frame is one JSON object.", ref=ref)
    raise AssertionError("a frame was refused as any command and taken as its own")


def field_of(error: msgspec.ValidationError, within: str = "") -> str:
    """Name the field that `error` is about by its path, below `within`; msgspec has it in the message alone."""
    text = str(error)
    path = match.group(1).removesuffix("[...]") if (match := _FIELD.search(text)) else ""
    if missing := _MISSING.search(text):
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
    return ".".join(part for part in (within, path) if part)


def wording(error: msgspec.ValidationError) -> str:
    """Say what `error` says, without the path; msgspec's messages name types and bounds, never values."""
    if "matching regex" in str(error):
        return "Expected a UUID in lower-case text."
    return f"{str(error).split(' - at `$', 1)[0].rstrip('.')}."


def encode(events: Sequence[Event]) -> bytes:
    """Write one frame: a JSON array of replies and events in order. It does not look at its size."""
    return b"[" + b",".join(encode_one(event) for event in events) + b"]"


def encode_one(event: Event) -> bytes:
    """Write one reply or event as JSON."""
    if isinstance(event, ChallengeReply):
        head: dict[str, Any] = {"type": "challenge"} if event.ref is None else {"type": "challenge", "ref": event.ref}
        return _encoder.encode(head | event.fields)
    return _encoder.encode(event)


def bare(reply: Reply) -> dict[str, Any]:
    """Give a reply as HTTP has it: the same object without `type` and `ref`."""
    if isinstance(reply, ChallengeReply):
        return reply.fields
    fields: dict[str, _Json] = msgspec.to_builtins(reply)
    return {key: _without_names(value) for key, value in fields.items() if key not in ("type", "ref")}


def _without_names(value: _Json) -> _Json:
    """Take `type` and `ref` out of an object, and out of those in a list in it."""
    if isinstance(value, list):
        return [_without_names(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_names(item) for key, item in value.items() if key not in ("type", "ref")}
    return value


def error_reply(error: CommandError, command: Command | None = None) -> Error:
    """Give `error` as the reply to `command`, or to the frame that it could not read."""
    ref = error.ref if isinstance(error, Undecodable) else command.ref if command is not None else None
    return Error(
        ref=ref,
        code=error.code.value,
        message=error.message,
        field=msgspec.UNSET if error.field is None else error.field,
        retry=error.code.retry,
        retry_after=msgspec.UNSET if error.retry_after is None else error.retry_after,
    )
