"""The public address of the server: the beginning of deep links, with the path below which everything is served."""

from __future__ import annotations

import ipaddress
import re
from typing import cast

from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.webaddress import WebAddress, is_unix, parse_web_address, split_authority

KEY = "server.public_url"

_DEFAULT = WebAddress("http", "127.0.0.1", 8000, "")

# The characters that are always written in the same way (RFC 3986, section 2.3), so that proxies, browsers and this
# server agree on a path.
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def public_address(config: Config) -> WebAddress:
    """Return `server.public_url`. If it is not set, return the address of the first plugin with a setting `bind`.

    There, a loopback address stands for all addresses of the machine, `0.0.0.0` and `[::]`. Raises
    `ConfigurationError`, also where that plugin listens on a Unix socket: only its proxy has an address.
    """
    if config.server.public_url is None:
        found = (_listening(f"plugins.{name}.bind", settings) for name, settings in config.plugins.items())
        return next((address for address in found if address is not None), _DEFAULT)
    address = parse_web_address(config.server.public_url, KEY)
    if not _PATH.fullmatch(address.path) or any(part in (".", "..") for part in address.path.split("/")):
        raise ConfigurationError(
            KEY,
            "has a path that can be written in several ways",
            "Use letters, digits, dots, dashes, underscores and tildes, with single slashes between them",
        )
    return address


def _listening(key: str, settings: object) -> WebAddress | None:
    """Return the address that a plugin with these settings listens on, None if it has no `bind`, whose key is `key`.

    Raises `ConfigurationError` where that is a Unix socket.
    """
    bind = cast(object, getattr(settings, "bind", None))
    if not isinstance(bind, str):
        return None
    if is_unix(bind):
        raise ConfigurationError(
            KEY,
            f"must be set with {key} = {bind}: people cannot type the address of a Unix socket",
            "Set it to the address of the proxy that is in front of the socket",
        )
    try:
        host, port = split_authority(bind)
    except ValueError:  # the transport itself reports this
        return None
    if host == "0.0.0.0":
        host = "127.0.0.1"
    elif host == str(ipaddress.IPv6Address(0)):
        host = "::1"
    scheme = "http" if getattr(settings, "certfile", None) is None else "https"
    default = 80 if scheme == "http" else 443
    return WebAddress(scheme, host, None if port == default else port, "")


def deep_link_base(config: Config) -> str:
    """Return what the deep links of rooms begin with; the room's id follows."""
    return f"{public_address(config).text}/r/"


DEFAULT_ADMIN_BIND = "127.0.0.1:8002"
"""Where the interface for operators listens, if the configuration has a token for it and no address."""


def admin_bind(config: Config) -> str | None:
    """Return where the interface for operators listens; None where it is off."""
    return None if config.admin.token is None else config.admin.bind or DEFAULT_ADMIN_BIND


def admin_binds(config: Config) -> list[tuple[str, str]]:
    """Return the setting and the address at which it listens, if it does."""
    bind = admin_bind(config)
    return [] if bind is None else [("admin.bind", bind)]
