"""The transport `quart`: WebSocket and HTTP on one port, with Quart-Trio, Hypercorn and wsproto.

`transport` reads the first request of each client and passes it by `asgi` to the Quart-Trio application: `app`, with
the routes of `api` and `pages`, and `responses` for all of them. For a WebSocket the application only accepts or
rejects; then it is a `connection`.
"""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Finding, Setup, Transport
from evanesce.interfaces import Settings as Model
from evanesce_transports.quart.transport import QuartTransport, Settings
from evanesce_transports.settings import find_problems

evanesce_api = API
evanesce_sees_content = True


@hookimpl
def evanesce_settings() -> Model:
    """Return the model of `[plugins.quart]`."""
    return Settings


@hookimpl
def evanesce_transport(setup: Setup) -> Transport:
    """Return the transport."""
    return QuartTransport(setup)


@hookimpl
def evanesce_findings(setup: Setup) -> Sequence[Finding]:
    """Check the certificate and the public URL."""
    return find_problems(setup, setup.settings, serves_pages=True)
