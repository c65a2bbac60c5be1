"""The HTTP routes of the web page's sign-in: its modules, World's library IDKit, and QR codes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from evanesce.errors import ConfigurationError
from evanesce.files import file_route, file_routes
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Setup, SignInPage
from evanesce.webaddress import parse_web_address
from evanesce_plugins.worldid.qr import QrCodes

PROVIDER = "worldid"
FOLDER = "/worldid"
"""The prefix of all paths here. The modules are in a folder below it, and refer to each other by relative paths."""

BRIDGE = "https://bridge.worldcoin.org"
"""World's own bridge between a page and World App, the default of IDKit."""

POLICY = "evanesce-worldid"
"""The name of the module's Trusted Types policy: for the script of IDKit, and for QR codes."""

LIBRARY = ("idkit.global.js", "idkit_wasm_bg.wasm")
"""The files of IDKit. The first one loads the second one from its own folder."""


class PageSettings(Protocol):
    """The settings in `[plugins.worldid]` that are about the page."""

    @property
    def legacy_proofs(self) -> bool:
        """Whether proofs of World ID 3.0 are accepted as well."""
        ...

    @property
    def idkit(self) -> str | None:
        """The folder with the files of `LIBRARY`."""
        ...

    @property
    def bridge_url(self) -> str | None:
        """The bridge, if it is not `BRIDGE`."""
        ...

    @property
    def connect_url(self) -> str | None:
        """The prefix of links to World App, if it is not IDKit's default."""
        ...


class PageConfiguration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The configuration for the page's module: links to the page begin with `public_url`, `idkit` is IDKit's path."""

    public_url: str
    legacy_proofs: bool = False
    idkit: str | None = None
    bridge_url: str | None = None
    connect_url: str | None = None


def sign_in_page(settings: PageSettings) -> SignInPage:
    """Return the sign-in page for World ID, which may load what IDKit needs, if IDKit is installed."""
    sources = {}
    if settings.idkit is not None:
        bridge = parse_web_address(settings.bridge_url or BRIDGE, f"plugins.{PROVIDER}.bridge_url")
        sources = {"script-src": ["'wasm-unsafe-eval'"], "connect-src": [bridge.origin], "trusted-types": [POLICY]}
    return SignInPage(PROVIDER, _modules()["worldid.js"].path, sources)


@functools.cache
def _modules() -> Mapping[str, HttpRoute]:
    return file_routes(FOLDER, list((resources.files("evanesce_plugins.worldid") / "static").iterdir()))


def routes(settings: PageSettings, setup: Setup) -> Sequence[HttpRoute]:
    """Return the routes that the page uses, and read their files. Raises `ConfigurationError`."""
    table = f"plugins.{setup.name}"
    if settings.bridge_url is not None and parse_web_address(settings.bridge_url, f"{table}.bridge_url").path:
        hint = "Write an address such as https://bridge.example"
        raise ConfigurationError(f"{table}.bridge_url", "IDKit takes a bridge without a path alone", hint)
    library: list[HttpRoute] = []
    if settings.idkit is not None:
        library = _library(setup.folder / settings.idkit, f"{table}.idkit")
    configuration = PageConfiguration(
        public_url=setup.public_url,
        legacy_proofs=settings.legacy_proofs,
        idkit=urlsplit(setup.public_url).path + library[0].path if library else None,
        bridge_url=settings.bridge_url,
        connect_url=settings.connect_url,
    )
    response = HttpResponse(msgspec.json.encode(configuration), headers={"Cache-Control": "no-cache"})

    async def configure(request: HttpRequest) -> HttpResponse:
        return response

    qr_codes = QrCodes()
    return [
        *_modules().values(),
        *library,
        HttpRoute("GET", f"{FOLDER}/page.json", configure),
        HttpRoute("POST", f"{FOLDER}/qr", qr_codes.draw),
    ]


def _library(folder: Path, key: str) -> list[HttpRoute]:
    """Return the routes of IDKit's files, in the order of `LIBRARY`. The path contains a digest of the files."""
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
