"""Whose request it is: the client's address, through proxies that are trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from evanesce.errors import ConfigurationError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. `local`: on this machine, as far as can be told: not through a proxy that is not trusted."""

    address: str
    local: bool


def parse_networks(texts: Sequence[str], path: str) -> tuple[Network, ...]:
    """Read addresses and networks. Raises `ConfigurationError` about the key `path`."""
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError:
        hint = 'Write addresses or networks, such as "10.0.0.0/8".'
        raise ConfigurationError(path, "this is no network", hint) from None


def find_client(peer: str, forwarded_for: Sequence[bytes], trusted: Sequence[Network]) -> Client:
    """Give the client behind `peer`, the socket's other end: the rightmost address that is no trusted proxy's.

    `forwarded_for` are the values of X-Forwarded-For. Each proxy appends whom it heard from, so only what trusted
    proxies appended is believed; behind something that is no address, nothing is.
    """
    current = _parse(peer)
    if current is None:
        return Client(peer, local=False)
    hops = [hop.strip() for value in forwarded_for for hop in value.decode("ascii").split(",")]
    while hops and _within(current, trusted):
        previous = _parse(hops.pop())
        if previous is None:
            return Client(str(current), local=False)
        current = previous
    return Client(str(current), local=current.is_loopback and not hops)


def _parse(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: IPAddress, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
