"""What the web page needs to sign in with World ID: its modules, World's library IDKit, and QR codes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from evanesce.errors import ConfigurationError
from evanesce.files import file_route
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Setup, SignInPage
from evanesce_plugins.worldid.qr import QrCodes

PROVIDER = "worldid"
FOLDER = "/worldid"
"""What the addresses here begin with. The modules know each other, and the rest, relative to their own."""

BRIDGE = "https://bridge.worldcoin.org"
"""World's own bridge between a page and World App, which IDKit uses where it is given no other."""

LIBRARY = ("idkit.global.js", "idkit_wasm_bg.wasm")
"""IDKit's files. The first one looks for the second one beside itself."""


class PageSettings(Protocol):
    """What of `[plugins.worldid]` is about the page."""

    @property
    def legacy_proofs(self) -> bool:
        """Whether World ID 3.0 is taken too."""
        ...

    @property
    def idkit(self) -> str | None:
        """The folder with `LIBRARY`."""
        ...

    @property
    def bridge_url(self) -> str | None:
        """Another bridge than `BRIDGE`."""
        ...

    @property
    def connect_url(self) -> str | None:
        """What World App's links begin with, where it is not IDKit's own."""
        ...


class PageConfiguration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the page's module is told: `public_url` is what links to here begin with, `idkit` IDKit's address."""

    public_url: str
    legacy_proofs: bool = False
    idkit: str | None = None
    bridge_url: str | None = None
    connect_url: str | None = None


def sign_in_page(settings: PageSettings) -> SignInPage:
    """Let the web page sign in with World ID, and load what IDKit needs, where there is an IDKit."""
    sources = {}
    if settings.idkit is not None:
        bridge = urlsplit(settings.bridge_url or BRIDGE)
        sources = {"script-src": ["'wasm-unsafe-eval'"], "connect-src": [f"{bridge.scheme}://{bridge.netloc}"]}
    return SignInPage(PROVIDER, f"{FOLDER}/worldid.js", sources)


def routes(settings: PageSettings, setup: Setup) -> Sequence[HttpRoute]:
    """Give what the page loads and asks. Reads the files. Raises `ConfigurationError`."""
    table = f"plugins.{setup.name}"
    if settings.bridge_url is not None and urlsplit(settings.bridge_url).path not in ("", "/"):
        hint = "Write an address such as https://bridge.example"
        raise ConfigurationError(f"{table}.bridge_url", "IDKit takes a bridge without a path alone", hint)
    static = resources.files("evanesce_plugins.worldid") / "static"
    modules = [file_route(f"{FOLDER}/{file.name}", file) for file in static.iterdir()]
    library: list[HttpRoute] = []
    if settings.idkit is not None:
        library = _library(setup.folder / settings.idkit, f"{table}.idkit")
    configuration = PageConfiguration(
        public_url=setup.public_url,
        legacy_proofs=settings.legacy_proofs,
        idkit=library[0].path if library else None,
        bridge_url=settings.bridge_url,
        connect_url=settings.connect_url,
    )
    response = HttpResponse(msgspec.json.encode(configuration), headers={"Cache-Control": "no-cache"})

    async def configure(request: HttpRequest) -> HttpResponse:
        return response

    qr_codes = QrCodes()
    return [
        *modules,
        *library,
        HttpRoute("GET", f"{FOLDER}/page.json", configure),
        HttpRoute("POST", f"{FOLDER}/qr", qr_codes.draw),
    ]


def _library(folder: Path, key: str) -> list[HttpRoute]:
    """Give the routes of IDKit's files, in the order of `LIBRARY`: under a name of their own for each version."""
    digest = hashlib.sha256()
    for name in LIBRARY:
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            problem = f"{name} cannot be read in {folder} ({error.strerror or type(error).__name__})"
            hint = "Name the folder dist of the npm package @worldcoin/idkit-core, or leave this setting out"
            raise ConfigurationError(key, problem, hint) from None
    version = digest.hexdigest()[:16]
    return [file_route(f"{FOLDER}/idkit-{version}/{name}", folder / name, for_ever=True) for name in LIBRARY]
