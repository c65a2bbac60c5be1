"""The address of a client, which trusted proxies report in headers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from evanesce.addresses import IPAddress, TrustedProxies, parse_address, within
from evanesce.listening import Client
from evanesce.webaddress import split_host_port
from evanesce_transports.request import Request

_PROXY_HEADERS = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-original-for",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
    }
)
_PROXY_PREFIX = b"x-forwarded"

MOST_PROXIES = 32
"""How many trusted proxies in a row are followed. Deployments have a few."""

HOPS_LENGTH = 256 * (MOST_PROXIES + 1)
"""How many characters are read from the end of a header with addresses: 256 for each proxy on average."""

_CUT = "?"
"""Stands for the rest of the header, so that a part of an element is not read as an address."""

_NODE_LENGTH = 128  # an address with a scope, brackets, quotes and a port is shorter
_PORT_DIGITS = 5


def find_client(peer: str, request: Request, trusted: TrustedProxies) -> Client:
    """Return the client behind `peer`, the address of the socket's other end.

    It is the rightmost address that is not of a trusted proxy. Each proxy appends the address of its own client to
    X-Forwarded-For, or to Forwarded (RFC 7239), which is read only where the former is absent. Elements to the left of
    an untrusted address, or of one that cannot be parsed, are ignored, because a client may have written them.

    A header that proxies add shows that there is a proxy. A client behind an untrusted proxy is never local; one behind
    a trusted proxy is local only where the proxy says so. Whoever connects to a Unix socket is a proxy, not a client: a
    client is local there only where a trusted one says so.
    """
    current = parse_address(peer)
    hops = _hops(request) if trusted.hold(peer) else []
    named = bool(hops)
    while hops and (current is None or within(current, trusted.networks)):
        previous = hops.pop()
        if previous is None:
            return Client(peer if current is None else str(current), local=False)
        current = previous
    if current is None:
        return Client(peer, local=False)
    local = current.is_loopback and not hops and (_headers_agree(request) if named else not is_proxied(request))
    return Client(str(current), local=local)


def is_proxied(request: Request) -> bool:
    """Return whether a request has a header that proxies add."""
    names = request.names
    return not _PROXY_HEADERS.isdisjoint(names) or any(name.startswith(_PROXY_PREFIX) for name in names)


def parse_node(text: str) -> IPAddress | None:
    """Return the address in a node as proxies write it; None where it has none (`unknown`, `_hidden`).

    A node is an address, `ADDRESS:PORT` or `[ADDRESS]:PORT`, with or without quotes.
    """
    if len(text) > _NODE_LENGTH:
        return None
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    try:
        name, port = split_host_port(text)
    except ValueError:  # an IPv6 address without brackets
        return parse_address(text)
    return parse_address(name) if port is None or _is_port(port) else None


def _is_port(text: str) -> bool:
    """Return whether `text` is a port, or the name of a hidden one (RFC 7239, section 6.2)."""
    return text.startswith("_") or (text.isdecimal() and len(text) <= _PORT_DIGITS)


def _hops(request: Request) -> list[IPAddress | None]:
    """Return the addresses that proxies appended, the nearest one last; None for an element without an address.

    All elements to the left of `MOST_PROXIES` others are replaced by one None.
    """
    for name, read in ((b"x-forwarded-for", parse_node), (b"forwarded", _forwarded_for)):
        if values := request.values(name):
            text = b",".join(values).decode("ascii")
            if len(text) > HOPS_LENGTH:
                text = _CUT + text[-HOPS_LENGTH:]
            elements = list(itertools.islice(_split_from_right(text, ","), MOST_PROXIES + 2))
            nodes = [read(element.strip()) for element in elements]
            if len(nodes) > MOST_PROXIES + 1:
                nodes[MOST_PROXIES:] = [None]
            return nodes[::-1]
    return []


def _forwarded_for(element: str) -> IPAddress | None:
    """Return the address in an element of Forwarded: the value of `for`, of which there may be only one."""
    pairs = (pair.partition("=") for pair in _split_from_right(element, ";"))
    nodes = [value.strip() for name, _, value in pairs if name.strip().lower() == "for"]
    return parse_node(nodes[0]) if len(nodes) == 1 else None


def _split_from_right(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of `text` between separators outside quotes, the last one first.

    It starts at the end, because a client may have sent an opening quote alone, which must not hide the elements that
    proxies appended.
    """
    end = len(text)
    quoted = False
    for index in range(len(text) - 1, -1, -1):
        if text[index] == '"':
            quoted ^= not _is_escaped(text, index)
        elif text[index] == separator and not quoted:
            yield text[index + 1 : end]
            end = index
    yield text[:end]


def _is_escaped(text: str, index: int) -> bool:
    """Return whether an odd number of backslashes precedes a character (RFC 9110, section 5.6.4).

    A proxy escapes a quote that it copies from its client, such as one in Host: it does not end the proxy's quotes.
    """
    first = index
    while first and text[first - 1] == "\\":
        first -= 1
    return (index - first) % 2 == 1


def _headers_agree(request: Request) -> bool:
    """Return whether all headers of a trusted proxy agree that the client is local."""
    if request.values(b"x-forwarded-for") and request.values(b"forwarded"):
        return False  # only one of them was read, and the client may have sent it
    addresses = [parse_node(value.decode("ascii").strip()) for value in request.values(b"x-real-ip")]
    return all(address is not None and address.is_loopback for address in addresses)
