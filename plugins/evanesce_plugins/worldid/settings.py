"""The settings of `[plugins.worldid]`, and the findings about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import ConfigurationError
from evanesce.interfaces import Finding
from evanesce.webaddress import parse_web_address

Environment = Literal["production", "staging"]
"""World's environments: with real World IDs (production), and with those of World's simulator (staging)."""

PORTALS: dict[Environment, str] = {
    "production": "https://developer.world.org",
    "staging": "https://staging-developer.worldcoin.org",
}
"""Where World verifies the proofs of each environment."""

PUBLIC_KEY = "ab" * 32
"""The signing key of World ID's published test vectors, which is public, and the simulator's own."""

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")

Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?\Z",
        description="an address that begins with https:// (http:// on this machine) and has no query",
    ),
]


_FORM = "64 hexadecimal digits"

SigningKey = Annotated[str, Meta(pattern=r"^(0x)?[0-9A-Fa-f]{64}\Z", description=_FORM)]

MOST_KEYS = 4
"""How many signing keys the setting has at most."""


class WorldIdSettings(Confidential, msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.worldid]`: the registration at World's developer portal, and the addresses of World's services."""

    app_id: Annotated[str, Meta(pattern=r"^app_[A-Za-z0-9_]{1,64}\Z", description="the app's id: it begins with app_")]
    """The app, as World's developer portal names it."""
    rp_id: Annotated[
        str, Meta(pattern=r"^rp_[0-9a-fA-F]{1,16}\Z", description="the RP's id: rp_ and up to 16 hexadecimal digits")
    ]
    """The app's registration for World ID 4.0: the relying party."""
    action: Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z", description="1 to 128 characters without spaces")]
    """The action that people prove once, when they sign up. With another action every person gets a new account."""
    # One key has no pattern of its own, for the reason that `evanesce.config.model.Secrets` has.
    signing_key: (
        Annotated[str, Meta(description=_FORM)]
        | Annotated[tuple[SigningKey, ...], Meta(min_length=1, max_length=MOST_KEYS)]
    )
    """The private key that signs requests for proofs. It is secret: set it by `env` or `file`.

    Of a list of up to 4, the first signs; the last one decides what is answered for account codes that nobody has, so
    that this does not change with the first one. See docs/how-to/replace-secrets.md.
    """
    environment: Environment = "production"
    """Whether World IDs are real ones or those of World's simulator."""
    api_url: Url | None = None
    """The portal that verifies proofs. Without it, World's own portal for the environment."""
    timeout: Annotated[float, Meta(ge=0.1, le=15)] = 5.0
    """Seconds that the portal has to answer."""
    legacy_proofs: bool = False
    """Whether proofs of World ID 3.0 are accepted too.

    One person can then have two accounts: see docs/explanation/world-id.md#proofs-of-world-id-30.
    """
    idkit: Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a folder")] | None = None
    """The folder with `idkit.global.js` and `idkit_wasm_bg.wasm`, which the page needs.

    It is relative to the working folder. Without it the page says that it cannot sign in with World ID; other clients
    can.
    """
    bridge_url: Url | None = None
    """The bridge between the page and World App. Without it, IDKit's own."""
    connect_url: Url | None = None
    """The beginning of the link and the QR code for World App. Without it, IDKit's own."""

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """All signing keys, as 64 digits each in lower case; the first one signs."""
        given = (self.signing_key,) if isinstance(self.signing_key, str) else self.signing_key
        return tuple(key[-64:].lower() for key in given)

    @property
    def portal(self) -> str:
        """The address of the portal, without a slash at its end."""
        return (self.api_url or PORTALS[self.environment]).rstrip("/")


def check(settings: WorldIdSettings, table: str) -> None:
    """Raise `ConfigurationError` for a repeated key, an invalid address, and a portal whose responses can be forged."""
    for i, key in enumerate(settings.signing_keys):
        if (first := settings.signing_keys.index(key)) < i:
            path = f"{table}.signing_key"
            raise ConfigurationError(f"{path}[{i}]", f"is the same as {path}[{first}]", "Name each key once")
    for name in ("bridge_url", "connect_url"):
        url: str | None = getattr(settings, name)
        if url is not None:
            parse_web_address(url, f"{table}.{name}")
    address = parse_web_address(settings.portal, f"{table}.api_url")
    if address.scheme != "https" and address.host not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            f"{table}.api_url",
            "a response that says who a user is has to come over TLS",
            "Write https://, or name a portal on this machine",
        )


def findings(settings: WorldIdSettings, table: str, exposed: Sequence[str]) -> list[Finding]:
    """Return findings about settings that are not safe if other machines reach the server, at `exposed`."""
    if not exposed:
        return []
    found = list(_of_portal(settings, table, f"and {exposed[0]} is not this machine alone"))
    if PUBLIC_KEY in settings.signing_keys:
        text = f"{table}.signing_key is the simulator's, which is public, and {exposed[0]} is not this machine alone"
        found.append(Finding(text, "Use the signing key from World's developer portal.", fails=True))
    return found


def _of_portal(settings: WorldIdSettings, table: str, reached: str) -> Sequence[Finding]:
    """Return a finding about the portal that verifies the proofs, if it is not World's for production."""
    own = f"Remove {table}.api_url: then World's own portal verifies who users are."
    if urlsplit(settings.portal).hostname in LOOPBACK_HOSTS:
        text = f"{table}.api_url is a simulator of World, with which a client can sign in as any person, {reached}"
        return [Finding(text, own, fails=True)]
    if settings.portal not in PORTALS.values():
        text = f"{table}.api_url is not World's own portal: the owner of {settings.portal} decides who users are"
        return [Finding(text, own)]
    if settings.environment == "staging" or settings.portal == PORTALS["staging"]:
        text = f'{table}.environment is "staging", where one human can be any number of people, {reached}'
        return [Finding(text, 'Set it to "production", unless this is for trying out.')]
    return []
