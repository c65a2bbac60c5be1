"""Addresses of clients in a text: kept, truncated to their networks, or left out."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from evanesce.addresses import IPAddress, parse_address

Addresses = Literal["full", "truncated", "none"]

_IPV4 = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])")
"""What may be an IPv4 address, whatever letter or mark is beside it: `parse_address` decides."""

_CANDIDATE = re.compile(
    r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{1,4}(?=:)|(?=::))(?::{1,2}[0-9A-Fa-f]{1,4}(?![0-9A-Fa-f])){0,9}(?:::)?"
    r"(?:\.[0-9]{1,3}){0,3}|" + _IPV4.pattern
)
"""What may be an IP address of either version.

That of IPv6 may have a group too many before it, the end of a word such as `ip6:`, and a port behind a colon or a dot.
"""

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
    if (address := parse_address(text)) is not None:
        return _shown(text, address, kept)
    if ":" not in text:
        return text
    bare = text.partition(".")[0]
    if (address := parse_address(bare)) is not None:
        return _shown(bare, address, kept) + text[len(bare) :]
    # A group too many may stand before the address or behind it: neither side of it is shown.
    if (address := parse_address(bare.rpartition(":")[0])) is not None:
        return _shown(text, address, kept)
    word, _, rest = bare.partition(":")
    if (address := parse_address(rest)) is not None:
        return f"{word}:{_shown(rest, address, kept)}{text[len(bare) :]}"
    return _IPV4.sub(lambda found: _redacted(found[0], kept), text)


def _shown(text: str, address: IPAddress, kept: Addresses) -> str:
    """Return what is shown in place of `text`, which is `address`."""
    if address.is_loopback or address.is_unspecified:
        return text
    if kept == "none":
        return HIDDEN
    bits = _IPV4_BITS if isinstance(address, ipaddress.IPv4Address) else _IPV6_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))
