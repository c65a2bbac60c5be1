"""The protocol on a connection as AsyncAPI 3: one channel, with a message for each command, reply and event."""

from __future__ import annotations

from typing import Any

import msgspec

from evanesce.errors import ErrorCode
from evanesce.protocol.answers import ERRORS, REPLIES
from evanesce.protocol.events import Limits
from evanesce.schema.definitions import GROUPS, Schema, definitions

_REFERENCE = "#/components/schemas/{name}"
_CHANNEL = {"$ref": "#/channels/connection"}


def asyncapi(limits: Limits) -> dict[str, Any]:
    """Return the AsyncAPI document of a server with these limits.

    An operation says what the server does: it receives commands, and sends events. A message of the server is one
    object of the array that is a frame.
    """
    schemas = definitions(limits, _REFERENCE)
    names = [kind.__name__ for kinds in GROUPS.values() for kind in kinds]
    operations: dict[str, Schema] = {}
    for command, reply in REPLIES.items():
        tag = str(command.__struct_config__.tag)
        operations[tag] = {
            "action": "receive",
            "channel": _CHANNEL,
            "summary": schemas[command.__name__]["description"],
            "messages": [_in_channel(command.__name__)],
            "reply": {"channel": _CHANNEL, "messages": [_in_channel(reply.__name__), _in_channel("Error")]},
            "x-errors": [code.value for code in ErrorCode if code in ERRORS[command]],
        }
    events = [_in_channel(kind.__name__) for kind in GROUPS["Event"]]
    operations["events"] = {"action": "send", "channel": _CHANNEL, "messages": events}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Evanesce, protocol version 1",
            "version": "1",
            "description": "A frame of a client is one command. A frame of the server is an array of its messages.",
            "x-limits": msgspec.to_builtins(limits),
        },
        "defaultContentType": "application/json",
        "channels": {
            "connection": {
                "address": "/ws",
                "description": "WebSocket, with the subprotocol evanesce.v1.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
        },
        "operations": operations,
        "components": {"messages": {name: _message(name, schemas[name]) for name in names}, "schemas": schemas},
    }


def _in_channel(name: str) -> Schema:
    return {"$ref": f"#/channels/connection/messages/{name}"}


def _message(name: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "summary": schema["description"],
        "payload": {"$ref": _REFERENCE.format(name=name)},
        "examples": [{"payload": example} for example in schema["examples"]],
    }
