"""The transport `quart`: WebSocket and HTTP on one port, on Quart-Trio, Hypercorn and wsproto.

General layout, in the order of a client's way: `transport` listens; `request` reads the first request, strictly.
An upgrade goes to `upgrade` (handshake, ASGI), which makes a `websocket` connection of it; any other request goes
through `exchange` to Hypercorn. Both end in the Quart-Trio application: `app`, with the routes of `api` and `pages`.
"""

from __future__ import annotations

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Settings as Model
from evanesce.interfaces import Setup, Transport
from evanesce_transports.quart.settings import Settings
from evanesce_transports.quart.transport import QuartTransport


@hookimpl
def evanesce_settings() -> Model:
    """Give the model of `[plugins.quart]`."""
    return Settings


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    """Give the transport."""
    return QuartTransport(setup)
