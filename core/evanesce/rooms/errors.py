"""The refusals that rooms and those who lead there share."""

from __future__ import annotations

from evanesce.errors import CommandError, ErrorCode


def not_member() -> CommandError:
    """Say that somebody is not in the room, whether there is one or not."""
    return CommandError(ErrorCode.NOT_MEMBER, "You are not in this room. Join it first.")


def room_not_found() -> CommandError:
    """Say that there is no such room."""
    return CommandError(ErrorCode.ROOM_NOT_FOUND, "There is no such room, or it was closed.")
