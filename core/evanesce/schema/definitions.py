"""The JSON Schema of each command, reply and event: made from their types, with the limits of one server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from evanesce.errors import ErrorCode
from evanesce.protocol import codec, commands, events
from evanesce.protocol.answers import ERRORS, REPLIES
from evanesce.schema import examples

Schema = dict[str, Any]

REFERENCE = "#/$defs/{name}"
"""Where a definition is in the JSON Schema."""

_COMMANDS: tuple[type[commands.Command], ...] = get_args(commands.AnyCommand)
_REPLIES: tuple[type[events.Reply], ...] = (*dict.fromkeys(REPLIES.values()), events.Error)
_EVENTS: tuple[type[events.Event], ...] = get_args(events.AnyEvent)

GROUPS: Mapping[str, tuple[type[msgspec.Struct], ...]] = {"Command": _COMMANDS, "Reply": _REPLIES, "Event": _EVENTS}
"""The types of each group of objects on a connection, by the name of the group."""


def definitions(limits: events.Limits, reference: str = REFERENCE) -> dict[str, Schema]:
    """Return the schemas of all types by their names, with an example of each command, reply and event.

    `limits` are those of the server. `reference` is the place of a definition, with `{name}` for its name.
    """
    kinds = [kind for group in GROUPS.values() for kind in group]
    _, found = msgspec.json.schema_components([*kinds, events.Limits], ref_template=reference)
    schemas = _plain(found)
    for kind in kinds:
        _correct_fields(kind, schemas[kind.__name__])
    _add_limits(schemas, limits)
    _add_examples(schemas, limits)
    for command, reply in REPLIES.items():
        schema = schemas[command.__name__]
        schema["x-reply"] = reply.__struct_config__.tag
        schema["x-errors"] = [code.value for code in ErrorCode if code in ERRORS[command]]
    return schemas


def _plain(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Return schemas with the regular expressions of ECMA 262, which JSON Schema uses: it has no `\\Z`."""
    return msgspec.json.decode(msgspec.json.encode(schemas).replace(rb'\\Z"', b'$"'), type=dict[str, Schema])


def _correct_fields(kind: type[msgspec.Struct], schema: Schema) -> None:
    """Correct the fields for which the wire differs from the type.

    None as the default means that the field is left out: null is neither sent nor accepted. The fields of a challenge
    stand beside `type`. The description has the names of the wire.
    """
    properties: dict[str, Schema] = schema["properties"]
    for field in msgspec.structs.fields(kind):
        schema["description"] = schema["description"].replace(f"`{field.name}`", f"`{field.encode_name}`")
        if field.default is None:
            own = properties[field.encode_name]
            del own["default"]
            own["anyOf"].remove({"type": "null"})
            if len(own["anyOf"]) == 1:
                own |= own.pop("anyOf")[0]
    if kind is commands.Challenge:
        del properties[""]
    if kind is events.ChallengeReply:
        del properties["fields"]
        schema["required"].remove("fields")


def _add_limits(schemas: dict[str, Schema], limits: events.Limits) -> None:
    """Add the limits that a configuration sets."""
    lives = {"minimum": limits.shortest_ttl, "maximum": limits.longest_ttl}
    for name, field in (("CreateRoom", "messageTtl"), ("UpdateRoom", "messageTtl"), ("Send", "ttl")):
        schemas[name]["properties"][field] |= lives
    schemas["Send"]["properties"]["content"] |= {
        "minLength": 1,
        "maxLength": limits.content_bytes,
        "description": f"At most {limits.content_bytes} bytes of UTF-8, not white space alone.",
    }
    profile = schemas["UpdateProfile"]["properties"]
    profile["displayName"] |= {"minLength": 1, "description": "1 to 64 characters after trimming."}
    profile["email"] |= {"format": "idn-email", "description": "At most 254 bytes of UTF-8; null removes the address."}


def _add_examples(schemas: dict[str, Schema], limits: events.Limits) -> None:
    for kind in _COMMANDS:
        tag = str(kind.__struct_config__.tag)
        schemas[kind.__name__]["examples"] = [{"type": tag, "ref": examples.REF, **examples.COMMANDS[tag]}]
    for event in examples.events_and_replies(limits):
        schemas[type(event).__name__]["examples"] = [msgspec.json.decode(codec.encode_one(event))]
