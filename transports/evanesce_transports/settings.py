"""The settings of a transport over HTTP, and what a deployer should correct in them."""

from __future__ import annotations

from urllib.parse import urlsplit

from evanesce.interfaces import Finding, Setup
from evanesce.listening import ListenSettings, certificate_findings
from evanesce.webaddress import UNIX, is_unix


class HttpListenSettings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address to listen on, TLS, and what proxies tell about their clients."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For`, or else `Forwarded`, is trusted.

    `"unix:"` stands for all proxies that connect to a Unix socket. Limits for an address apply to the clients of these
    proxies, not to the proxies.
    """
    proxy_protocol: bool = False
    """Whether every connection begins with a header of the PROXY protocol, version 1 or 2, from a trusted proxy."""


def find_problems(setup: Setup, settings: HttpListenSettings, *, serves_pages: bool) -> list[Finding]:
    """Return the problems of the certificate, and those between the settings and `server.public_url`.

    With `serves_pages`, the public URL leads to this transport.
    """
    scheme, host = urlsplit(setup.public_url).scheme, urlsplit(setup.public_url).hostname
    found = [_no_address(setup)] if is_unix(settings.bind) and UNIX not in settings.trusted_proxies else []
    if settings.certfile is None:
        if scheme == "https" and not settings.trusted_proxies and not is_unix(settings.bind):
            found.append(_no_tls(setup))
        return found
    if scheme == "http" and serves_pages:
        found.append(
            Finding(
                f"server.public_url is {setup.public_url}, but with certfile this transport uses only TLS",
                f"Set server.public_url to https://, or remove {_key(setup, 'certfile')}.",
                fails=True,
            )
        )
    # Behind a proxy only the proxy checks the certificate, for a name that may not be the public one.
    return found + certificate_findings(setup, settings, None if settings.trusted_proxies else host)


def _no_tls(setup: Setup) -> Finding:
    return Finding(
        f"server.public_url is {setup.public_url}, but there is neither a certificate nor a trusted proxy: with a proxy"
        " for TLS all clients share its address and its limits, and without one no client can connect",
        f"Name the proxy in {_key(setup, 'trusted_proxies')}, or set {_key(setup, 'certfile')}.",
    )


def _no_address(setup: Setup) -> Finding:
    return Finding(
        f"{_key(setup, 'bind')} is a Unix socket, and the proxy on it is not trusted: all clients share its limits",
        f'Add "{UNIX}" to {_key(setup, "trusted_proxies")}.',
    )


def _key(setup: Setup, name: str) -> str:
    return f"plugins.{setup.name}.{name}"
