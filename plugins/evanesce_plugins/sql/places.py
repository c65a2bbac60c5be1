"""Places in a list of rooms, as text that a client gives back for the next page."""

from __future__ import annotations

import base64

from evanesce.errors import BadRequest


def write_place(created_at: str, room_id: str) -> str:
    """Write a room's place in the list, as text that goes into a URL as it is."""
    return base64.urlsafe_b64encode(f"{created_at} {room_id}".encode()).decode().rstrip("=")


def read_place(mark: str) -> tuple[str, str]:
    """Read what `write_place` wrote. Raises `BadRequest`.

    The decoder takes more than that, so it is written again to compare.
    """
    try:
        text = base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)).decode()
    except ValueError:
        text = ""
    created_at, _, room_id = text.partition(" ")
    if not room_id or write_place(created_at, room_id) != mark:
        raise BadRequest("after", "Give the `next` of the page before.")
    return created_at, room_id
