"""The transport `trio_websocket`: WebSocket alone, on a port of its own, on the library trio-websocket.

General layout, in the order of a client's way: `transport` reads the request, strictly, and lets the client in; `wire`
is what the library takes for the client's stream, where everything passes that comes or goes, measured by `sizes`; the
`connection` is what the server is given.
"""

from __future__ import annotations

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Settings as Model
from evanesce.interfaces import Setup, Transport
from evanesce_transports.trio_websocket.settings import Settings
from evanesce_transports.trio_websocket.transport import TrioWebSocketTransport


@hookimpl
def evanesce_settings() -> Model:
    """Give the model of `[plugins.trio_websocket]`."""
    return Settings


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    """Give the transport."""
    return TrioWebSocketTransport(setup)
