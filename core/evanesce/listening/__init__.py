"""Listening for transports: accepting clients on a port or a Unix socket, TLS, workers, and limits of each address.

A `Listener` accepts clients and passes each to the transport as a `ClientStream`. It counts clients by their address
and refuses those that are over a limit, keeps descriptors free for the rest of the server, does the TLS handshake,
contains the errors of clients, and stops listening where workers share the port and the server stops. A
`StreamConnection` is the connection of such a client, as the server needs it.

The transports that come with Evanesce use this package.
"""

from __future__ import annotations

from evanesce.listening.certificate import certificate_expiry, certificate_findings
from evanesce.listening.connection import StreamConnection, serve_connection
from evanesce.listening.listener import FindRoom, Listener, ServeClient
from evanesce.listening.settings import Bind, FilePath, ListenSettings, UnixBind, load_tls, parse_bind
from evanesce.listening.stream import Client, ClientStream
from evanesce.listening.work import WorkSlots

__all__ = [
    "Bind",
    "Client",
    "ClientStream",
    "FilePath",
    "FindRoom",
    "ListenSettings",
    "Listener",
    "ServeClient",
    "StreamConnection",
    "UnixBind",
    "WorkSlots",
    "certificate_expiry",
    "certificate_findings",
    "load_tls",
    "parse_bind",
    "serve_connection",
]
