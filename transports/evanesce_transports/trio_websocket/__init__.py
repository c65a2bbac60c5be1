"""The transport `trio_websocket`: only WebSocket, on a port of its own, with the library trio-websocket.

`transport` reads the request of each client and accepts the client. `connection` is the connection that the server
gets, and the stream below the library, which measures what the client sends.
"""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Finding, Setup, Transport
from evanesce.interfaces import Settings as Model
from evanesce_transports.settings import find_problems
from evanesce_transports.trio_websocket.transport import Settings, TrioWebSocketTransport

evanesce_api = API
evanesce_sees_content = True


@hookimpl
def evanesce_settings() -> Model:
    """Return the model of `[plugins.trio_websocket]`."""
    return Settings


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    """Return the transport."""
    return TrioWebSocketTransport(setup)


@hookimpl
def evanesce_findings(setup: Setup) -> Sequence[Finding]:
    """Check the certificate and the public URL."""
    return find_problems(setup, setup.settings, serves_pages=False)
