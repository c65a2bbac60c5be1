"""Hosts, ports and URLs of servers: parsed strictly, and compared as browsers compare them.

`urllib.parse` accepts much that browsers reject, and does not say what is wrong with a port or a bracket. Here each
mistake has a message of its own.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

from evanesce.errors import ConfigurationError

UNIX = "unix:"
"""What the address of a Unix socket begins with. Alone, it is the address of every client on one."""

SOCKET_PATH_BYTES = 90
"""The longest path of a Unix socket: systems allow 103 or 107 bytes, and a temporary name is a little longer."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "libsql": 443}

_LONGEST_NAME = 253  # RFC 1035, section 2.3.4, without the dot of the root
_LONGEST_HOST = _LONGEST_NAME + len(".:65535")

_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # the name of an interface on Linux
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes a host an IPv4 address (WHATWG URL, 3.5)


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL in its normal form.

    `host` is a name of A-labels in lower case, or an IP address without brackets. `port` is None where it is the
    scheme's default. `path` is as it was written, without slashes at its end.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def authority(self) -> str:
        """The host, in brackets where it is an IPv6 address, and the port unless it is the scheme's default."""
        return join_host_port(self.host, self.port)

    @property
    def origin(self) -> str:
        """The origin as browsers write it (RFC 6454, section 6.2)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def text(self) -> str:
        """The whole URL, without slashes at its end."""
        return self.origin + self.path


def parse_web_address(text: str, setting: str) -> WebAddress:
    """Return the URL that `text` holds. Raises `ConfigurationError` about the key `setting`.

    The pattern of the key says which schemes are allowed, and whether there may be a path. The error does not repeat
    the text, which may contain a password.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ConfigurationError(setting, "is no address", "Write it as https://HOST or https://HOST:PORT")
    scheme, path = parts["scheme"].lower(), parts["path"] or ""
    try:
        host, port = split_authority(parts["authority"])
        if port == 0:
            raise ValueError("has the port 0, which cannot be connected to")
    except ValueError as error:
        hint = f"Write it as {scheme}://HOST or {scheme}://HOST:PORT"
        raise ConfigurationError(setting, str(error), hint) from None
    return WebAddress(scheme, host, None if port == _DEFAULT_PORTS.get(scheme) else port, path.rstrip("/"))


def is_unix(bind: str) -> bool:
    """Return whether an address to listen on is that of a Unix socket."""
    return bind.startswith(UNIX)


def split_host_port(text: str) -> tuple[str, str | None]:
    """Split `HOST`, `HOST:PORT`, `[HOST]` or `[HOST]:PORT`; return the host without brackets, and the port as text.

    The port is None where there is no colon. Neither part is checked. Raises `ValueError` that says what is wrong.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise ValueError("has a [ without a ]")
        if rest and not rest.startswith(":"):
            raise ValueError("has something other than a port behind the ]")
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise ValueError("has more than one colon: write an IPv6 address in brackets, [::1]")
    return host, port if colon else None


def join_host_port(host: str, port: int | None) -> str:
    """Return `HOST:PORT`, or the host alone where `port` is None, with brackets around an IPv6 address."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def split_authority(text: str, *, zones: bool = False) -> tuple[str, int | None]:
    """Split as `split_host_port` does, and check both parts; return the host in its normal form, and the port.

    With `zones` an IPv6 address may have a zone, as in `fe80::1%eth0`: that is useful for listening, not for
    connecting. Raises `ValueError` that says what is wrong.
    """
    host, port = split_host_port(text)
    host = _ipv6(host, zones=zones) if text.startswith("[") else _normal_name(host)
    return host, None if port is None else _port(port)


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without its port, in the form in which names are compared.

    That is lower case, without the dot of the root at the end, and as A-labels. Anything that is not a host is
    returned as it is, in lower case.
    """
    if len(host) > _LONGEST_HOST:
        return host
    try:
        name, port = split_host_port(host)
    except ValueError:
        return host.lower()
    if port and not port.isdigit():
        return host.lower()
    if host.startswith("["):
        return name.lower()
    name = name.removesuffix(".").lower()
    try:
        return _to_a_labels(name)
    except ValueError:
        return name


def _normal_name(text: str) -> str:
    """Return a DNS name or an IPv4 address as browsers write it. Raises `ValueError` that says what is wrong."""
    name = text.removesuffix(".")
    if not name:
        raise ValueError("has no host")
    name = _to_a_labels(name).lower()
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError("has a host that is no IPv4 address: write four numbers from 0 to 255") from None
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is no name: letters, digits and dashes, with dots between them")
    return name


def _to_a_labels(name: str) -> str:
    """Return an international name as A-labels (RFC 5890). Raises `ValueError` that says what is wrong."""
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("has a host that is no international name") from None


def _ipv6(text: str, *, zones: bool) -> str:
    address, percent, zone = text.partition("%")
    if percent and not (zones and _ZONE.fullmatch(zone)):
        raise ValueError("has an IPv6 address with a zone, which is valid on one machine only")
    try:
        return str(ipaddress.IPv6Address(address)) + percent + zone
    except ValueError:
        raise ValueError("has brackets around what is no IPv6 address") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535):
        raise ValueError("has a port that is no number up to 65535")
    return int(text)


def without_credentials(text: str) -> str:
    """Return an address without its user and password, and without its options, one of which may be a password.

    A text that is no address is returned as it is.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    head, _, options = rest.partition("?")
    authority, slash, path = head.partition("/")
    user, at, hosts = authority.rpartition("@")
    hidden = "(hidden)@" if at and user else ""
    return f"{scheme}://{hidden}{hosts}{slash}{path}{'?(hidden)' if options else ''}"
