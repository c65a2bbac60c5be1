"""The messages that filters have let through and that were not stored: their senders may send them again."""

from __future__ import annotations

from collections import OrderedDict

from evanesce.model import Draft

MOST_REMEMBERED = 10_000
"""How many messages are remembered; past that the oldest is forgotten, and counts as new when it is sent again."""


class LetThrough:
    """For each message that was not stored yet, the plugins whose filters have let it through.

    A message is the same where its id, its room, its sender and its content are. Content is not kept, but a hash of it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], tuple[int, set[str]]] = OrderedDict()

    def plugins(self, draft: Draft) -> set[str]:
        """Return the plugins that have let a message through; the caller adds those that do so now."""
        key, content = _key(draft), hash(draft.content)
        known = self._known.get(key)
        if known is None or known[0] != content:
            known = self._known[key] = (content, set())
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known[1]

    def stored(self, draft: Draft) -> None:
        """Forget a message that was stored: when it has expired, the same message is a new one."""
        self._known.pop(_key(draft), None)


def _key(draft: Draft) -> tuple[str, str, str]:
    return draft.room_id, draft.sender_id, draft.message_id
