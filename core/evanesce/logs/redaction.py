"""Addresses of clients in a text: kept, truncated to their networks, or left out."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from evanesce.addresses import IPAddress, parse_address

Addresses = Literal["full", "truncated", "none"]

_CANDIDATE = re.compile(r"(?<![\w.:])[0-9A-Fa-f:.]{3,45}(?![\w:])")
"""What may be an IP address: `parse_address` decides. An IPv4-mapped address has 45 characters."""

# Of IPv4 the last of four bytes is left out, of IPv6 the last 80 bits: what the masking of Google Analytics left out,
# which became the custom (support.google.com/analytics/answer/2763052). A /48 is what one site has (RFC 6177).
_IPV4_BITS = 24
_IPV6_BITS = 48

HIDDEN = "(address)"
"""Stands for an address where the log holds none."""


def without_addresses(text: str, kept: Addresses) -> str:
    """Return `text` with what is `kept` of each IP address in it. Addresses of the machine itself are always kept."""
    if kept == "full":
        return text
    return _CANDIDATE.sub(lambda found: _redacted(found[0], kept), text)


def _redacted(text: str, kept: Addresses) -> str:
    bare, address = _found(text)
    if address is None or address.is_loopback or address.is_unspecified:
        return text
    rest = text[len(bare) :]
    if kept == "none":
        return HIDDEN + rest
    bits = _IPV4_BITS if isinstance(address, ipaddress.IPv4Address) else _IPV6_BITS
    return str(ipaddress.ip_network((address, bits), strict=False)) + rest


def _found(text: str) -> tuple[str, IPAddress | None]:
    """Return the address at the beginning of `text`, before a port or the marks that end a sentence."""
    bare = text.rstrip(".:")
    for one in (text, text.rstrip("."), bare, bare.rpartition(":")[0]):
        if (address := parse_address(one)) is not None:
            return one, address
    return text, None
