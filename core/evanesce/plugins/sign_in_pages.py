"""Whether what a plugin gives for the web page can be used: it ends up in an address and in a security policy."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

import msgspec

from evanesce.interfaces import SignInPage

_PATH = re.compile(r"/(?!/)[\w.~!$&'()*+,;=:@%/-]*", re.ASCII)  # RFC 3986, 3.3; "//…" would be another origin

# A directive that says from where something is loaded. Those that close the page to others stay closed, and
# `default-src` would open all at once.
_Directive = Annotated[str, msgspec.Meta(pattern=r"^(?!default-)[a-z]+-src\Z")]
# Visible ASCII but for what separates directives and policies: ";" and ",".
_Source = Annotated[str, msgspec.Meta(pattern=r"^[!-+\--:<-~]+\Z")]


def problem(page: object, providers: Collection[str], taken: Collection[str]) -> str | None:
    """Say what is wrong with `page`; None: nothing. `taken` are the providers that have a page already."""
    if not isinstance(page, SignInPage):
        return "must give a SignInPage"
    try:
        provider = msgspec.convert(page.provider, str)
        module = msgspec.convert(page.module, str)
        msgspec.convert(page.sources, dict[_Directive, list[_Source]])
    except msgspec.ValidationError as error:
        return f'gives what cannot be used ({error}): write sources as {{"connect-src": ["https://host"]}}'
    if provider not in providers:
        return f"names the provider {provider!r}, and no enabled plugin signs in with it"
    if provider in taken:
        return f"gives a second page for {provider!r}"
    if not _PATH.fullmatch(module):
        return f"gives {module!r} as its module: write an absolute path on this origin"
    return None
