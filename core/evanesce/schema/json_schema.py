"""The protocol as one JSON Schema (draft 2020-12): all frames in both directions."""

from __future__ import annotations

from typing import Any

import msgspec

from evanesce.protocol.events import Limits
from evanesce.schema.definitions import GROUPS, REFERENCE, Schema, definitions

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(limits: Limits) -> dict[str, Any]:
    """Return the JSON Schema of a frame, for a server with these limits.

    Its definitions have the name of each type, and `Command` (a frame of a client), `Frame` (a frame of the server),
    `Reply` and `Event`.
    """
    return {
        "$schema": DIALECT,
        "title": "Evanesce, protocol version 1",
        "description": "A frame: a command of a client, or an array of replies and events of the server.",
        "anyOf": [_reference("Command"), _reference("Frame")],
        "x-limits": msgspec.to_builtins(limits),
        "$defs": {**groups(), **definitions(limits)},
    }


def groups() -> dict[str, Schema]:
    """Return the definitions of the groups of types, and of a frame of the server."""
    return {name: {"anyOf": [_reference(kind.__name__) for kind in kinds]} for name, kinds in GROUPS.items()} | {
        "Frame": {
            "description": "A frame of the server: replies and events, in order.",
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [_reference("Reply"), _reference("Event")]},
        }
    }


def _reference(name: str) -> Schema:
    return {"$ref": REFERENCE.format(name=name)}
