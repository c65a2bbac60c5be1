"""Decode a client's frames to commands, and encode replies and events.

Malformed JSON costs no more than well-formed JSON: the nesting is bounded before a parser recurses, and fields that a
command does not have are skipped without building their values.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeAlias, get_args

import msgspec

from evanesce.errors import CommandError, ErrorCode
from evanesce.protocol.commands import AnyCommand, Challenge, Command, Ref
from evanesce.protocol.events import ChallengeReply, Error, Event, Reply

FRAME_BYTES = 256 * 1024
"""The largest frame that a server sends."""

MAX_DEPTH = 32
"""The deepest nesting of a client's frame."""

MAX_VALUES = 1_000
"""How many values a credential or a challenge may have.

The server keeps them while it waits for an identity provider, and an empty list of three bytes takes 64 in memory.
"""

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | float | bool | None"

_BRACKETS = b"[{]}"
_OTHERS = bytes(set(range(256)).difference(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes

_FIELD = re.compile(r"`\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")

_NULL = msgspec.Raw(b"null")

_commands: dict[str, msgspec.json.Decoder[Any]] = {
    str(kind.__struct_config__.tag): msgspec.json.Decoder(kind) for kind in get_args(AnyCommand)
}
_never_null: dict[type[Command], tuple[str, ...]] = {
    kind: tuple(field.encode_name for field in msgspec.structs.fields(kind) if field.default is None)
    for kind in get_args(AnyCommand)
}
"""The fields in which `None` says that the client has left them out: msgspec reads null as the same."""

_any_command: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_challenge: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


class Undecodable(CommandError):
    """A frame that is not a valid command. `ref` is that of the frame, if it has a valid one."""

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None, ref: Ref | None = None) -> None:
        super().__init__(code, message, field=field)
        self.ref = ref


class _Head(msgspec.Struct):
    """The fields that every command has. The others are skipped."""

    type: str
    ref: Ref | None = None


_head = msgspec.json.Decoder(_Head)


def decode(frame: str | bytes) -> AnyCommand:
    """Decode one frame. A text frame is a `str`; a binary one (`bytes`) is not part of this protocol.

    Raises `Undecodable` with `bad_frame`, `unknown_type`, or `bad_request` and the field.
    """
    if isinstance(frame, bytes):
        raise Undecodable(ErrorCode.BAD_FRAME, "A frame must be text, not binary: one JSON object.")
    if nests_deeper(frame, MAX_DEPTH):
        raise Undecodable(ErrorCode.BAD_FRAME, f"A frame may be nested at most {MAX_DEPTH} levels deep.")
    # Many values are refused before they take memory. Commas and brackets within texts count too.
    if len(frame) > MAX_VALUES and frame.count(",") + frame.count("[") + frame.count("{") > MAX_VALUES:
        _refuse_many_values(frame)
    try:
        command = _any_command.decode(frame)
    except msgspec.ValidationError:
        raise _explain(frame) from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Undecodable(ErrorCode.BAD_FRAME, "A frame must be one JSON object.") from None
    if "null" in frame:  # also within texts
        _refuse_null(command, frame)
    return _with_request(command, frame) if isinstance(command, Challenge) else command


def _refuse_many_values(frame: str) -> None:
    """Raise `Undecodable` for a frame with many values, if its command is one that keeps them."""
    try:
        head = _head.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return  # `decode` refuses it for its own error
    if head.type in ("hello", "challenge"):
        field = "credential" if head.type == "hello" else None
        raise Undecodable(
            ErrorCode.BAD_REQUEST, f"At most {MAX_VALUES} values are allowed here.", field=field, ref=head.ref
        )


def _refuse_null(command: Command, frame: str) -> None:
    """Raise `Undecodable` for a command with null in a field that is left out where it has no value."""
    fields = _object.decode(frame)
    for name in _never_null[type(command)]:
        if fields.get(name) == _NULL:
            message = "Expected a value, got null: leave out what has none."
            raise Undecodable(ErrorCode.BAD_REQUEST, message, field=name, ref=command.ref)


def _with_request(command: Challenge, frame: str) -> Challenge:
    """Add the fields for the provider to a challenge: all that are not the protocol's own."""
    try:
        fields = _challenge.decode(frame)
    except msgspec.ValidationError as error:
        raise Undecodable(ErrorCode.BAD_REQUEST, wording(error), field=field_of(error), ref=command.ref) from None
    request = {key: value for key, value in fields.items() if key not in ("type", "ref", "provider")}
    return msgspec.structs.replace(command, request=request)


def _explain(frame: str) -> Undecodable:
    """Return the error for a frame that is not a valid command."""
    try:
        fields = _object.decode(frame)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(ErrorCode.BAD_FRAME, "A frame must be one JSON object.")
    ref: Ref | None = None
    if "ref" in fields:
        try:
            ref = msgspec.json.decode(fields["ref"], type=Ref)
        except (msgspec.DecodeError, ValueError):
            message = "`ref` must be a text of 1 to 64 characters or an integer of at most 53 bits."
            return Undecodable(ErrorCode.BAD_REQUEST, message, field="ref")
    try:
        kind = msgspec.json.decode(fields.get("type", b"null"), type=str)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(
            ErrorCode.BAD_REQUEST, "`type` must be the name of a command, as text.", field="type", ref=ref
        )
    decoder = _commands.get(kind)
    if decoder is None:
        return Undecodable(ErrorCode.UNKNOWN_TYPE, "There is no command of this type.", ref=ref)
    try:
        decoder.decode(frame)
    except msgspec.ValidationError as error:
        field = field_of(error)
        return Undecodable(ErrorCode.BAD_REQUEST, wording(error), field=field, ref=ref)
    except (msgspec.DecodeError, ValueError):
        return Undecodable(ErrorCode.BAD_FRAME, "A frame must be one JSON object.", ref=ref)
    raise AssertionError("a frame was refused as any command, but accepted as its own")


def field_of(error: msgspec.ValidationError, within: str = "") -> str:
    """Return the path of the field of `error`, below `within`. msgspec has it only in the message."""
    text = str(error)
    path = match.group(1).removesuffix("[...]") if (match := _FIELD.search(text)) else ""
    if missing := _MISSING.search(text):
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
    return ".".join(part for part in (within, path) if part)


def wording(error: msgspec.ValidationError) -> str:
    """Return the message of `error` without the path, and without the value that msgspec repeats from the frame."""
    if "matching regex" in str(error):
        return "Expected a UUID as lower-case text."
    if str(error).startswith("Invalid enum value"):
        return "Expected one of the allowed values."
    return f"{str(error).split(' - at `$', 1)[0].rstrip('.')}."


def nests_deeper(text: str, limit: int) -> bool:
    """Return whether arrays and objects are nested deeper than `limit` in `text`, which need not be JSON.

    The answer is exact up to the first position where the text is not JSON any more, and no parser reads further. Each
    step is one pass over the text in C, so the cost is linear, whatever the text looks like.
    """
    if text.count("{") + text.count("[") <= limit:
        return False
    # Without escapes, text is inside a string after every odd quote, and an unclosed string ends with the text.
    unescaped = text.encode(errors="replace").replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(unescaped.split(b'"')[::2])
    depths = accumulate(array("b", outside.translate(_STEPS, _OTHERS)))
    return max(depths, default=0) > limit


def encode(events: Sequence[Event]) -> bytes:
    """Encode one frame: a JSON array of replies and events in order. The size is not checked."""
    return _encoder.encode([_encodable(event) for event in events])


def encode_one(event: Event) -> bytes:
    """Encode one reply or event as JSON."""
    return _encoder.encode(_encodable(event) if isinstance(event, ChallengeReply) else event)


def _encodable(event: Event) -> Event | dict[str, Any]:
    if isinstance(event, ChallengeReply):
        head: dict[str, Any] = {"type": "challenge"} if event.ref is None else {"type": "challenge", "ref": event.ref}
        return head | event.fields
    return event


def bare(reply: Reply) -> dict[str, Any]:
    """Return a reply as it is sent over HTTP: the same object without `type` and `ref`."""
    if isinstance(reply, ChallengeReply):
        return reply.fields
    fields: dict[str, _Json] = msgspec.to_builtins(reply)
    return {key: _without_names(value) for key, value in fields.items() if key not in ("type", "ref")}


def _without_names(value: _Json) -> _Json:
    """Remove `type` and `ref` from an object, and from the objects in it."""
    if isinstance(value, list):
        return [_without_names(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_names(item) for key, item in value.items() if key not in ("type", "ref")}
    return value


def error_reply(error: CommandError, command: Command | None = None) -> Error:
    """Return `error` as the reply to `command`, or to the frame that could not be decoded."""
    ref = error.ref if isinstance(error, Undecodable) else command.ref if command is not None else None
    return Error(
        ref=ref,
        code=error.code.value,
        message=error.message,
        field=msgspec.UNSET if error.field is None else error.field,
        retry=error.code.retry,
        retry_after=msgspec.UNSET if error.retry_after is None else error.retry_after,
    )
