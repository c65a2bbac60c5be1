"""Frames of a client, made from the JSON Schema: valid ones, ones with one mutation, and hostile ones."""

from __future__ import annotations

import enum
import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.schemas import members, validator

Json = Any

ABSENT = object()

MOST_SECONDS = 3600.0
"""No message and no mute lives longer, so that a run's numbers stay within what a room allows."""


CHECKED_LATER = frozenset({"content", "ttl", "messageTtl", "displayName"})
"""Fields with limits of the configuration: they may be looked at after whether the user may do this at all."""


class Kind(enum.Enum):
    """What a frame is, and so how it has to be answered."""

    VALID = "valid"
    """A command by the schema: it gets its reply, or an error that the schema lists for it."""
    INVALID = "invalid"
    """No command by the schema, but a JSON object: it gets an error of the frame, or of its content."""
    NO_OBJECT = "no object"
    """Not one JSON object: it gets `bad_frame`, without a `ref`."""
    UNKNOWN = "unknown"
    """An object of an unknown type: it gets `unknown_type`."""


@dataclass(frozen=True)
class Frame:
    """A frame, `ref` as the answer has to repeat it, and the command's type and fields where it has them."""

    data: str | bytes
    kind: Kind
    ref: int | str | None
    command: str = ""
    fields: dict[str, Json] = field(default_factory=dict[str, Any])
    plain: bool = False
    """Whether nothing was mutated: then only a few commands may get `bad_request`."""
    late: bool = False
    """Whether nothing is invalid but what `CHECKED_LATER` names."""


@dataclass
class Known:
    """What a client knows of the server, and puts into fields of these names."""

    canary: str
    token: str = ""
    user_id: str = ""
    rooms: list[str] = field(default_factory=list[str])
    people: list[str] = field(default_factory=list[str])
    messages: list[str] = field(default_factory=list[str])
    invites: list[str] = field(default_factory=list[str])
    secrets: list[str] = field(default_factory=list[str])
    cursors: list[str] = field(default_factory=list[str])
    sent: dict[str, str] = field(default_factory=dict[str, str])
    """The last message that was sent to each room."""


class FrameMaker:
    """Makes frames from the schema of a server: the same ones for the same `chance`."""

    def __init__(self, document: dict[str, Json], chance: random.Random, known: Known) -> None:
        self._definitions = document["$defs"]
        self._chance = chance
        self._known = known
        self._refs = 0
        self._schemas: dict[str, tuple[dict[str, Json], Any]] = {}
        for name in members(document, "Command"):
            schema = self._definitions[name]
            (tag,) = schema["properties"]["type"]["enum"]
            self._schemas[tag] = schema, validator(document, name)
        self.commands = sorted(self._schemas)

    def valid(self, command: str, **given: Json) -> Frame:
        """Return a valid frame of a command: all required fields and some others, where `given` does not say."""
        fields = self._fields(command) | given
        return self._frame(command, fields, plain=True)

    def mutated(self, command: str) -> Frame:
        """Return a frame of a command in which one field is missing, unknown, null, of another type or at a bound."""
        fields = self._fields(command)
        schema, _ = self._schemas[command]
        name = self._chance.choice(sorted(schema["properties"]))
        change = self._chance.choice(["missing", "extra", "null", "type", "bound"])
        if change == "extra":
            fields[self._chance.choice(["extra", "__proto__", "", "Type", "roomid"])] = self._any()
        elif change == "missing":
            # Without `ref` nobody could tell the answer to `typing` from no answer.
            fields.pop("roomId" if (command, name) == ("typing", "ref") else name, None)
        elif change == "null":
            fields[name] = None
        elif change == "type":
            fields[name] = self._any()
        else:
            fields[name] = self._bound(schema["properties"][name])
        return self._frame(command, fields)

    def hostile(self) -> Frame:
        """Return what is no command at all."""
        ref = self._ref()
        unknown = {"type": self._chance.choice(["", "Ping", "ping ", "welcome", "\u0000", "x" * 1000]), "ref": ref}
        nested = "[" * self._chance.choice([31, 33, 1000]) + "]" * 3
        if self._chance.random() < 0.25:
            return Frame(json.dumps(unknown), Kind.UNKNOWN, ref)
        data: list[str | bytes] = [
            "",
            " ",
            "[]",
            "null",
            "7",
            '"ping"',
            '{"type": "ping"',
            '{"type": "ping"} {"type": "ping"}',
            '[{"type": "ping"}]',
            "{'type': 'ping'}",
            '{"type": "ping", "x": NaN}',
            '{"type": "ping", "x": ' + nested + "}",
            '{"type": "\\ud800"}',
            '{"x": "' + self._known.canary,
            b'{"type": "ping"}',
            b"\xff\x00",
        ]
        return Frame(self._chance.choice(data), Kind.NO_OBJECT, None)

    def _frame(self, command: str, fields: dict[str, Json], *, plain: bool = False) -> Frame:
        data = json.dumps(fields, ensure_ascii=self._chance.random() < 0.5)
        _, schema = self._schemas[command]
        errors = list(schema.iter_errors(fields))
        later = all(error.path and error.path[0] in CHECKED_LATER for error in errors)
        reference = fields.get("ref")
        whole = isinstance(reference, int) and not isinstance(reference, bool) and abs(reference) < 2**53
        text = isinstance(reference, str) and 1 <= len(reference) <= 64
        ref = reference if whole or text else None
        return Frame(data, Kind.INVALID if errors else Kind.VALID, ref, command, fields, plain, late=later)

    def _fields(self, command: str) -> dict[str, Json]:
        schema, _ = self._schemas[command]
        required = set(schema["required"])
        fields: dict[str, Json] = {"type": command, "ref": self._ref()}
        for name, own in schema["properties"].items():
            if name in fields or (name not in required and self._chance.random() < 0.5):
                continue
            fields[name] = self._value(name, own)
        if command == "unsend" and self._known.sent:
            fields["roomId"], fields["messageId"] = self._chance.choice(list(self._known.sent.items()))
        if command == "hello" and "token" not in fields and "credential" not in fields:
            fields["token"] = self._value("token", {})
        return fields

    def _value(self, name: str, schema: dict[str, Json]) -> Json:
        """Return a value that the schema allows, mostly one that the server knows."""
        known = self._known
        odd = self._chance.choice(["", "ä", "👩‍💻", "\u202e", "<b>", "\\", "\u0000"])
        pools: dict[str, list[Json]] = {
            "roomId": known.rooms,
            "userId": known.people,
            "messageId": [*known.messages, str(uuid.UUID(int=self._chance.getrandbits(128), version=4))],
            "replyTo": known.messages,
            "inviteId": known.invites,
            "invite": known.secrets,
            "since": known.cursors,
            "after": known.cursors,
            "token": [known.token],
            "credential": [{"provider": "guest", "displayName": known.canary}],
            "provider": ["guest"],
            "displayName": [known.canary],
            "email": [None, f"{known.canary}@example.org"],
            "content": [f"{known.canary} {odd}"],
            "ttl": [1, 60, 59.5],
        }
        pool = pools.get(name, [])
        if pool and self._chance.random() < 0.9:
            return self._chance.choice(pool)
        return self._allowed(schema)

    def _allowed(self, schema: dict[str, Json]) -> Json:
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        if "enum" in schema:
            return self._chance.choice(schema["enum"])
        kind = schema.get("type", "string")
        if kind == "boolean":
            return self._chance.random() < 0.5
        if kind == "object":
            return {"provider": "guest", "displayName": self._known.canary}
        if kind == "number":
            least, most = schema.get("minimum", 0), min(schema.get("maximum", MOST_SECONDS), MOST_SECONDS)
            return self._chance.randint(int(least), int(most))
        if "pattern" in schema:
            return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        return self._known.canary[: schema.get("maxLength", 64)]

    def _bound(self, schema: dict[str, Json]) -> Json:
        """Return a value at a bound of the schema, or just beyond it."""
        option = self._chance.choice(schema["anyOf"]) if "anyOf" in schema else schema
        bounds: list[Json] = ["", "x" * 300]
        for name in ("minimum", "maximum"):
            if name in option:
                bounds += [option[name], option[name] - 1, option[name] + 1]
        for name in ("minLength", "maxLength"):
            if name in option:
                bounds += ["x" * max(0, option[name] + step) for step in (-1, 0, 1)]
        return self._chance.choice(bounds)

    def _any(self) -> Json:
        values = [True, -1, 0.5, 2**53, 10**30, "", "text", [], {}, [None], {"a": [1]}, self._known.canary]
        return self._chance.choice(values)

    def _ref(self) -> int | str:
        self._refs += 1
        return self._refs if self._chance.random() < 0.5 else f"ref {self._refs}"
