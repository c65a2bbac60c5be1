"""The settings of `[plugins.oidc]`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import ConfigurationError
from evanesce.webaddress import parse_web_address

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")

ISSUER_CHARACTERS = 127
"""The longest issuer. It is a part of each subject, of which the server stores 255 characters."""


class OidcSettings(Confidential, msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.oidc]`: the issuer of OpenID Connect, and this server's registration there."""

    issuer: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?\Z",
            max_length=ISSUER_CHARACTERS,
            description="an address that begins with https:// (http:// on this machine) and has no query",
        ),
    ]
    """The issuer, exactly as its discovery document names it, with or without a slash at the end.

    It is a part of every account: with another issuer every person gets a new account.
    """
    client_id: Annotated[str, Meta(pattern=r"^[!-~]{1,255}\Z", description="1 to 255 characters without spaces")]
    """The client that the issuer knows this server as. ID tokens have to be made for it."""
    client_secret: (
        Annotated[str, Meta(pattern=r"^[!-~]{1,512}\Z", description="1 to 512 characters without spaces")] | None
    ) = None
    """The secret of a confidential client: set it by `env` or `file`. Without it, the client is a public one."""
    timeout: Annotated[float, Meta(ge=0.1, le=12)] = 5.0
    """Seconds that the issuer has for each answer."""
    clock_skew: Annotated[float, Meta(ge=0, le=300)] = 60.0
    """Seconds by which the clocks of the issuer and of this server may differ."""
    email: bool = False
    """Whether a new account gets the mail address of its owner, if the issuer says that it has verified it."""

    @property
    def scope(self) -> str:
        """What the page asks the issuer for."""
        return "openid profile email" if self.email else "openid profile"


def check(settings: OidcSettings, table: str) -> None:
    """Raise `ConfigurationError` for an invalid issuer, and for one whose answers could be forged."""
    address = parse_web_address(settings.issuer, f"{table}.issuer")
    if address.scheme != "https" and address.host not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            f"{table}.issuer",
            "an answer that says who a user is has to come over TLS",
            "Write https://, or name an issuer on this machine",
        )


def is_safe(url: str, issuer: str) -> bool:
    """Return whether the issuer may name this address: one over TLS, or on this machine if the issuer is there too."""
    try:
        address, own = parse_web_address(url.partition("?")[0], "url"), parse_web_address(issuer, "issuer")
    except ConfigurationError:
        return False
    if address.scheme == "https":
        return True
    return address.scheme == own.scheme == "http" and address.host in LOOPBACK_HOSTS
