"""What a terminal says about its connection, and when it gives up."""

from __future__ import annotations

import trio

from evanesce.cli.console import Console, line
from evanesce.client.events import State

FIRST_ATTEMPTS = 3
"""How many attempts fail before the terminal gives up, if it was never connected. The third one names no room."""

WAITING_STATES = 64
"""How many changes of the connection may wait to be shown. Others are not shown."""

NO_GUESTS = "this server has no sign-in for guests, which a terminal needs: open the link in a browser."


class ConnectionNotices:
    """Shows the states of a client, `on_state`, for the server whose name is `host`."""

    def __init__(self, host: str, console: Console) -> None:
        self._host = host
        self._console = console
        self._come, self._states = trio.open_memory_channel[State](WAITING_STATES)
        self._was_online = False
        self.rejoins = True
        """Whether the connection was lost since a room was joined last; whoever shows that resets it."""

    def on_state(self, state: State) -> None:
        """Take a state of the client."""
        if state.state != "online":
            self.rejoins = True
        try:
            self._come.send_nowait(state)
        except trio.WouldBlock:
            return  # the terminal is stopped, or prints too slowly

    async def signed_in(self) -> str | None:
        """Wait for the first sign-in, and return why there was none, or None."""
        failed = 0
        async for state in self._states:
            if state.state == "online":
                self._was_online = True
                return None
            failed += state.state == "offline" and state.code is None
            if failed == FIRST_ATTEMPTS:
                return f"cannot reach {self._host}: {state.reason}"
            if failure := await self._show(state):
                return failure
        return None

    async def run(self) -> str:
        """Show what happens to the connection until the client stops, and return why."""
        async for state in self._states:
            if failure := await self._show(state):
                return failure
        raise AssertionError("the channel is never closed")

    async def _show(self, state: State) -> str | None:
        """Show a state, and return why the client stops, if it does."""
        match state.state:
            case "stopped":
                return _failure(state)
            case "offline" if self._was_online or isinstance(state.code, str):
                self._was_online = False
                await self._console.print(line(f"* {state.reason or 'The connection is lost.'} Reconnecting …"))
            case "online":
                self._was_online = True
            case _:
                pass
        return None


def _failure(state: State) -> str:
    if state.code == "unknown_provider":
        return f"{NO_GUESTS} {state.reason}"
    if isinstance(state.code, str):
        return state.reason
    return f"the server closed the connection: {state.reason or state.code}"
