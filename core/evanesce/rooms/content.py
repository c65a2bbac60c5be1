"""What the content of a message in a room has to be, whoever sends it."""

from __future__ import annotations

from evanesce.config.model import MessagesTable
from evanesce.errors import BadRequest, CommandError, ErrorCode
from evanesce.protocol.ciphertext import is_ciphertext
from evanesce.store.rules import RoomRules


def content_flaw(content: str, ttl: float | None, rules: RoomRules, messages: MessagesTable) -> CommandError | None:
    """Return why a message is refused before any plugin sees it; None where it is not. `ttl` is in seconds."""
    if not content.strip():
        return CommandError(ErrorCode.CONTENT_EMPTY, "The message is empty.")
    most = messages.content_bytes
    if len(content.encode()) > most:
        return CommandError(ErrorCode.CONTENT_TOO_LONG, f"A message has at most {most} bytes of UTF-8.")
    if ttl is not None:
        shortest, longest = messages.shortest_ttl, rules.message_ttl / 1000
        if not shortest <= ttl <= longest:
            return BadRequest("ttl", f"A message in this room lives for {shortest:g} to {longest:g} seconds.")
    if not fits(content, rules):
        return BadRequest("content", "This room is encrypted: the content has to be encrypted by the client.")
    return None


def fits(content: str, rules: RoomRules) -> bool:
    """Return whether content has the form that the messages of a room have to have."""
    return not rules.encrypted or is_ciphertext(content)
