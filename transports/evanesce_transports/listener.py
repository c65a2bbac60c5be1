"""The listener of a transport over HTTP: it admits clients by their address, as proxies report it, and their host."""

from __future__ import annotations

import functools
import logging
from urllib.parse import urlsplit

import trio

from evanesce.addresses import parse_proxies
from evanesce.errors import ConfigurationError, RateLimited
from evanesce.hints import Hints
from evanesce.interfaces import Gateway, Setup
from evanesce.listening import Client, ClientStream, Listener, certificate_expiry
from evanesce.webaddress import is_unix
from evanesce_transports.admission import check_host
from evanesce_transports.client import find_client
from evanesce_transports.limits import REQUEST_BYTES, ByteBudget, Share
from evanesce_transports.request import HEAD_BYTES, PublicPath, Refused, Request
from evanesce_transports.room_hint import peek_room
from evanesce_transports.settings import HttpListenSettings

log = logging.getLogger(__name__)


class HttpListener(Listener):
    """The listening sockets of one transport over HTTP. Raises `ConfigurationError` for wrong settings.

    `public_path` is the path of `server.public_url`.
    """

    def __init__(self, setup: Setup, settings: HttpListenSettings) -> None:
        path = f"plugins.{setup.name}.trusted_proxies"
        self._trusted = parse_proxies(settings.trusted_proxies, path)
        self._trusted_setting = path
        nobody = not self._trusted.unix if is_unix(settings.bind) else not settings.trusted_proxies
        if settings.proxy_protocol and nobody:
            setting = f"plugins.{setup.name}.proxy_protocol"
            raise ConfigurationError(setting, "needs a trusted proxy: nobody could connect", f"Name it in {path}")
        self.public_path = PublicPath(urlsplit(setup.public_url).path)
        super().__init__(
            setup,
            settings,
            proxies=self._trusted,
            proxy_protocol=settings.proxy_protocol,
            answers_refused=True,
            protocols=["http/1.1"],
            find_room=functools.partial(peek_room, public_path=self.public_path),
        )
        self.certificate_expires = certificate_expiry(setup, settings)
        """When the certificate expires, in seconds since 1970; infinite without one."""
        self._hints = Hints(log, trio.current_time)
        self._budget = ByteBudget(max(REQUEST_BYTES, 2 * (HEAD_BYTES + setup.frame_bytes)))

    def share(self) -> Share:
        """Return the share of a request in the memory of all requests. The caller releases it in the end."""
        return Share(self._budget)

    def may_keep(self, client_stream: ClientStream) -> bool:
        """Return whether the connection may have further requests.

        Those of a trusted proxy may be of other clients, each of which has to be counted: its connections have one.
        """
        return not self._trusted.hold(client_stream.peer)

    def admit(self, gateway: Gateway, client_stream: ClientStream, request: Request) -> Client:
        """Return the client of a request, and count it. Raises `Refused`, and `OSError` where the client left.

        The path of the public URL is removed from the request. Behind a trusted proxy the client's address is known
        only from the head of the request, so a connection of a proxy is counted here. A request in which the proxy
        names no client is not counted: it may be from any of them.
        """
        if client_stream.refusal is not None:
            raise Refused(429, client_stream.refusal)
        request.head = self.public_path.strip_head(request.head)
        believed = self._trusted.hold(client_stream.peer) or self._proxy_protocol
        if request.values(b"x-forwarded-for") and not believed:
            hint = f"{self._trusted_setting} does not contain it. If it is your proxy, add it there"
            self._hints.give(client_stream.peer, f"X-Forwarded-For from %s is not believed, because {hint}")
        client = find_client(client_stream.peer, request, self._trusted)
        if client_stream.held is None and not self._trusted.hold(client.address):
            try:
                gateway.address_limits.count_handshake(client.address)
                client_stream.held = gateway.address_limits.hold_connection(client.address)
            except RateLimited as error:
                raise Refused(429, error) from None
        check_host(gateway, request, client_stream.local_address)
        return client
