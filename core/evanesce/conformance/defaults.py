"""The fields that the protocol requires and a transcript need not repeat: the server adds what is left out."""

from __future__ import annotations

from typing import cast

from evanesce.conformance.transcript import Json

_ROOM: dict[str, Json] = {"messageTtl": 60, "access": "link", "locked": False, "encrypted": False}

_DEFAULTS: dict[str, dict[str, Json]] = {
    "welcome": {
        "userId": "$me",
        "displayName": "Ana",
        "serverTime": "+0",
        "messageTtl": 60,
        "heartbeat": 25,
        "limits": {
            "contentBytes": 4096,
            "frameBytes": 65536,
            "history": 500,
            "roomsPerConnection": 50,
            "shortestTtl": 1,
            "longestTtl": 86400,
            "messagesPerSecond": 5,
            "burst": 20,
        },
    },
    "joined": {
        "roomId": "$room",
        "sessionId": "$session",
        "memberCount": 1,
        "messages": [],
        "more": False,
        "missed": 0,
        "unsent": [],
        "room": _ROOM,
    },
    "message": {
        "roomId": "$room",
        "senderId": "$bob",
        "senderName": "Bob",
        "content": "hello",
        "createdAt": "+0",
        "expiresAt": "+60",
    },
    "sent": {"roomId": "$room", "createdAt": "+0", "expiresAt": "+60", "duplicate": False},
    "pong": {"serverTime": "+0"},
    "error": {"message": "The transcript refuses this command.", "retry": False},
}


def complete(template: dict[str, Json]) -> dict[str, Json]:
    """Return a reply or event of a transcript with the fields that its type requires."""
    kind = template.get("type")
    whole = _DEFAULTS.get(kind, {}) | template if isinstance(kind, str) else template
    if kind == "joined":
        messages = cast("list[dict[str, Json]]", whole["messages"])
        whole |= {
            "messages": [complete({"type": "message"} | message) for message in messages],
            "room": _ROOM | cast("dict[str, Json]", whole["room"]),
        }
    return whole
