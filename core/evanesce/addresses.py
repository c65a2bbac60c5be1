"""IP addresses and networks of clients: parsing, and the block of addresses that shares one limit."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evanesce.errors import ConfigurationError
from evanesce.webaddress import UNIX

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SUBSCRIBER_BITS = 64  # the least that one subscriber has (RFC 6177): a limit for a single address would have no effect
_TEXT_LENGTH = 64  # the longest valid form, with a scope, is shorter

_MOST_KNOWN = 4_096  # for how many addresses a result is remembered

UNKNOWN_BLOCK = "unknown"
"""The block of all clients without a known IP address, such as those on a Unix socket."""


def parse_address(text: str) -> IPAddress | None:
    """Return the IP address in `text`, without its scope; None where `text` is not an IP address.

    An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    return _parse(text) if len(text) <= _TEXT_LENGTH else None


@functools.lru_cache(_MOST_KNOWN)  # several parts of the server parse the address of each connection
def _parse(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def address_block(text: str) -> str:
    """Return the block that counts as one address in a limit: an IPv4 address, or the /64 of an IPv6 address.

    All clients without an IP address share one block.
    """
    address = parse_address(text)
    return UNKNOWN_BLOCK if address is None else _block(address)


@functools.lru_cache(_MOST_KNOWN)  # several limits count each connection
def _block(address: IPAddress) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, _SUBSCRIBER_BITS), strict=False))


def parse_networks(texts: Sequence[str], path: str) -> tuple[Network, ...]:
    """Return the networks that `texts` name; a single address is a network that holds only it.

    An IPv4-mapped IPv6 network is the IPv4 network. Raises `ConfigurationError` about the key `path`.
    """
    try:
        return tuple(_unmapped(ipaddress.ip_network(text, strict=False)) for text in texts)
    except ValueError:
        hint = 'Write addresses or networks, such as "10.0.0.0/8".'
        raise ConfigurationError(path, "this is no network", hint) from None


def within(address: IPAddress, networks: Sequence[Network]) -> bool:
    """Return whether one of `networks` holds `address`."""
    return any(address in network for network in networks)


def is_within(text: str, networks: Sequence[Network]) -> bool:
    """Return whether `text` is an IP address that one of `networks` holds."""
    address = parse_address(text)
    return address is not None and within(address, networks)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Whom the server believes the address of a client: proxies in `networks`, and all on Unix sockets with `unix`."""

    networks: Sequence[Network] = ()
    unix: bool = False

    def hold(self, peer: str) -> bool:
        """Return whether `peer`, the address of a socket's other end, is that of a trusted proxy."""
        return self.unix if peer == UNIX else bool(self.networks) and is_within(peer, self.networks)


NO_PROXIES = TrustedProxies()


def parse_proxies(texts: Sequence[str], path: str) -> TrustedProxies:
    """Return the proxies that `texts` name: addresses, networks, or `unix:` for those on Unix sockets.

    Raises `ConfigurationError` about the key `path`.
    """
    return TrustedProxies(parse_networks([text for text in texts if text != UNIX], path), UNIX in texts)


def network_check(networks: Sequence[Network]) -> Callable[[str], bool]:
    """Return what `is_within` is for these networks, as a function that remembers the answers for many addresses.

    The same few networks are looked up several times for each connection.
    """
    return functools.lru_cache(_MOST_KNOWN)(functools.partial(is_within, networks=networks))


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96), strict=False)
