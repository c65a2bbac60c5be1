"""The host names and origins that a server admits.

That is a defence against DNS rebinding: an attacker's name that points to this machine has the trust that a browser
gives to that name, whatever server is behind it. The `Host` header has the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evanesce.addresses import parse_address
from evanesce.webaddress import WebAddress, host_name, parse_web_address

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class AdmittedHosts:
    """The hosts and origins of the public address, and those of the configured origins."""

    def __init__(self, public: WebAddress, origins: Sequence[str]) -> None:
        others = [parse_web_address(origin, "server.origins") for origin in origins]
        self._names = frozenset(address.host for address in (public, *others))
        self._loopback = any(_is_loopback(name) for name in self._names)
        self._origins = _own_origins(public) | {address.origin for address in others}

    def admits_origin(self, origin: str) -> bool:
        """Return whether a page of `origin` may connect: the server's own, or a configured one.

        Browsers send it in the normal form (RFC 6454, 6.2): any other form does not come from a browser.
        """
        return origin in self._origins

    def admits_host(self, host: str, local_address: str) -> bool:
        """Return whether a request with this Host header, which came to `local_address`, is meant for this server.

        It is so for the names in the configuration, for the address that the client connected to, and for all names of
        loopback if it connected over loopback or if the configuration has such a name. The port is not compared: an
        attacker who forges a name does not choose it, and proxies and port forwarding change it.
        """
        name = host_name(host)
        if name in self._names:
            return True
        local = parse_address(local_address)
        if _is_loopback(name) and (self._loopback or (local is not None and local.is_loopback)):
            return True
        address = parse_address(name)
        return address is not None and (address == local or str(address) in self._names)


def _is_loopback(name: str) -> bool:
    address = parse_address(name)
    if address is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")  # RFC 6761, section 6.3


def _own_origins(public: WebAddress) -> frozenset[str]:
    """Return the origins of the server's own page; for a public address on loopback, those of all names of loopback."""
    names = _LOOPBACK if public.host in _LOOPBACK else (public.host,)
    return frozenset(replace(public, host=name).origin for name in names)
