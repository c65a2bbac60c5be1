"""The settings of `[plugins.passkey]`, and the relying party that follows from them and from `server.public_url`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError
from evanesce.webaddress import parse_web_address

LOOPBACK_NAME = "localhost"
"""The only host that browsers trust without TLS, and that may be a relying party."""


class PasskeySettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.passkey]`: how passkeys are asked for. Their address is that of `server.public_url`."""

    name: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z", description="1 to 64 characters")] | None = None
    """The name of this server that authenticators show to people. Without it, the host of `server.public_url`."""
    user_verification: Literal["preferred", "required"] = "preferred"
    """Whether a device has to check its owner, by a fingerprint, a face or a PIN.

    With `preferred` it does so if it can; a security key without a PIN is accepted too. With `required`, only devices
    that do so can sign in.
    """


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """This server as authenticators know it: its id is a host name, and keys of one id are of no use for another."""

    id: str
    name: str
    origin: str
    verifies_users: bool


def relying_party(settings: PasskeySettings, public_url: str) -> RelyingParty:
    """Return the relying party for the address of this server. Raises `ConfigurationError` where browsers accept none.

    They require a host name, and a secure context: HTTPS, or the name `localhost`.
    """
    address = parse_web_address(public_url, "server.public_url")
    hint = "Write https:// and the name of the server, or http://localhost and the port for a trial on this machine"
    if _is_ip_address(address.host):
        raise ConfigurationError("server.public_url", "passkeys belong to a host name, not to an IP address", hint)
    if address.scheme != "https" and address.host != LOOPBACK_NAME:
        raise ConfigurationError("server.public_url", "browsers use passkeys over HTTPS alone", hint)
    verifies = settings.user_verification == "required"
    return RelyingParty(address.host, settings.name or address.host, address.origin, verifies)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
