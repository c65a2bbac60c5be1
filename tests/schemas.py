"""Validators for what a server sends, made from the JSON Schema that it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from evanesce.protocol.events import Limits
from evanesce.schema import documents

Json = Any

DEFAULT_LIMITS = Limits(
    content_bytes=4096,
    frame_bytes=65_536,
    history=500,
    rooms_per_connection=50,
    shortest_ttl=1,
    longest_ttl=86_400,
    messages_per_second=5,
    burst=20,
)


def schema_of(limits: Limits) -> dict[str, Json]:
    """Return the JSON Schema of a server with these limits."""
    document: dict[str, Json] = json.loads(documents(limits)["schema.json"])
    return document


def validator(document: Mapping[str, Json], name: str) -> Draft202012Validator:
    """Return the validator of one definition of `document`."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": document["$defs"]})


def members(document: Mapping[str, Json], group: str) -> list[str]:
    """Return the names of the definitions of a group: `Command`, `Reply` or `Event`."""
    return [str(option["$ref"]).rpartition("/")[2] for option in document["$defs"][group]["anyOf"]]


class EventSchemas:
    """Holds events and replies against their own definitions, which is faster than against the whole schema."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        self._kinds: dict[str, list[tuple[Draft202012Validator, frozenset[str]]]] = {}
        for name in (*members(document, "Reply"), *members(document, "Event")):
            properties = document["$defs"][name]["properties"]
            (tag,) = properties["type"]["enum"]
            self._kinds.setdefault(tag, []).append((validator(document, name), frozenset(properties)))
        self.types = frozenset(self._kinds)
        """The names of all replies and events."""
        self.events = frozenset(
            document["$defs"][name]["properties"]["type"]["enum"][0] for name in members(document, "Event")
        )
        """The names of the events: `typing` and `vote` are replies too, or named as a command."""

    def check(self, event: Mapping[str, Json]) -> None:
        """Fail unless `event` is valid, and has no field that the schema does not name.

        The fields of a challenge are its provider's.
        """
        problems: list[str] = []
        for schema, properties in self._kinds[event["type"]]:
            found = [error.message for error in schema.iter_errors(event)]
            if event["type"] != "challenge" and (unknown := event.keys() - properties):
                found.append(f"it has the unknown fields {sorted(unknown)}")
            if not found:
                return
            problems += found
        raise AssertionError(f"{event['type']} differs from its schema: {problems}")
