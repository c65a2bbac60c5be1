"""What a deployer may set in `[plugins.worldid]`, and what it means."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from evanesce.errors import ConfigurationError

Environment = Literal["production", "staging"]
"""Where a World ID is real, and where it is one of the simulator's."""

PORTALS: dict[Environment, str] = {
    "production": "https://developer.world.org",
    "staging": "https://staging-developer.worldcoin.org",
}
"""Where World verifies the proofs of each environment."""

Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?\Z",
        description="an address that begins with https:// (http:// on this machine) and has no query",
    ),
]


class WorldIdSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.worldid]`.

    `app_id`, `rp_id`, `action` and `signing_key` are what World's developer portal knows the deployer by. `api_url` is
    the portal (None: World's own for the `environment`), which answers within `timeout` seconds. `legacy_proofs` takes
    proofs of World ID 3.0 too. `idkit` is the folder of the page's library; `bridge_url` and `connect_url` are given to
    that library, which has its own where they are None.
    """

    app_id: Annotated[str, Meta(pattern=r"^app_[A-Za-z0-9_]{1,64}\Z", description="the app's id: it begins with app_")]
    rp_id: Annotated[
        str, Meta(pattern=r"^rp_[0-9a-fA-F]{1,16}\Z", description="the RP's id: rp_ and up to 16 hexadecimal digits")
    ]
    action: Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z", description="1 to 128 characters without spaces")]
    signing_key: Annotated[str, Meta(pattern=r"^(0x)?[0-9A-Fa-f]{64}\Z", description="64 hexadecimal digits")]
    environment: Environment = "production"
    api_url: Url | None = None
    timeout: Annotated[float, Meta(gt=0, le=15)] = 5.0
    legacy_proofs: bool = False
    idkit: str | None = None
    bridge_url: Url | None = None
    connect_url: Url | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # the key is secret

    @property
    def portal(self) -> str:
        """The address of the portal, without a slash at its end."""
        return (self.api_url or PORTALS[self.environment]).rstrip("/")


def check(settings: WorldIdSettings, table: str) -> None:
    """Raise `ConfigurationError` where the portal's answers could be forged on their way."""
    address = urlsplit(settings.portal)
    if address.scheme != "https" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigurationError(
            f"{table}.api_url",
            "an answer that says who somebody is has to come over TLS",
            "Write https://, or name a portal on this machine",
        )
