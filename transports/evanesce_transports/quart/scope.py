"""What the transport adds to the ASGI scope: names in `scope["state"]`."""

from __future__ import annotations

CLIENT = "evanesce.client"
"""The `Client` that asks."""
