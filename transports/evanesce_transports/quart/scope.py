"""What the transport adds to the ASGI scope: names in `scope["state"]`."""

from __future__ import annotations

CLIENT = "evanesce.client"
"""The `Client` that asks."""

CONNECTION = "evanesce.connection"
"""The connection of a client that asked for a WebSocket, once the application accepted it."""
