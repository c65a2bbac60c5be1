"""The plugin `slow_mode`: a person may write so often in a room, and some words not at all."""

import math
import re
from typing import Annotated

import msgspec
from evanesce.errors import Rejected
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Server, Settings, Setup
from evanesce.model import Draft


class SlowModeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.slow_mode]`."""

    seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 30.0
    """The time between two messages of a person in a room, in the long run."""
    burst: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """How many messages a person may send at once after a long pause."""
    refuse: tuple[str, ...] = ()
    """Words. A message that contains one of them is refused, and not counted."""


class SlowMode:
    """The plugin. The messages are counted by the server for all of its workers, and for all servers of its Redis."""

    evanesce_api = "1.0"
    evanesce_sees_content = True

    def __init__(self) -> None:
        self._settings = SlowModeSettings()
        self._refused: frozenset[str] = frozenset()
        self._server: Server | None = None

    @hookimpl
    def evanesce_settings(self) -> Settings:
        """Return the model of the settings."""
        return SlowModeSettings

    @hookimpl
    def evanesce_configure(self, setup: Setup) -> None:
        """Take the settings."""
        self._settings = setup.settings
        self._refused = frozenset(word.casefold() for word in self._settings.refuse)

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        """Keep the server, which counts. This is called before clients can connect."""
        self._server = server

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        """Refuse a message with a refused word, and one that comes too early."""
        if not self._refused.isdisjoint(re.findall(r"\w+", draft.content.casefold())):
            raise Rejected("Please say it in other words.")
        if draft.retry:  # it was counted, and then not stored
            return None
        if self._server is None:
            raise Rejected("Slow mode is not ready yet.", retry_after=1)
        key = f"{draft.room_id} {draft.sender_id}"
        wait = await self._server.shared.take(key, rate=1 / self._settings.seconds, burst=self._settings.burst)
        if wait:
            raise Rejected(f"Slow mode: you may write again in {math.ceil(wait)} s.", retry_after=wait)
        return None


plugin = SlowMode()
