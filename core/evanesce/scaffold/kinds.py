"""The kinds of plugins that Evanesce writes an example of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind adds to a plugin.

    `module` has its code, and `base` is the class there with its hooks. `data` are other files of the package.
    `replaces` is the plugin that comes with Evanesce and
    cannot be enabled beside it. `option` is a setting with which a server shows what the plugin does.
    """

    module: str
    base: str
    sees_content: bool = False
    data: tuple[str, ...] = ()
    replaces: str | None = None
    option: str | None = None


KINDS: Mapping[str, Kind] = {
    "auth": Kind(
        "sign_in",
        "SignInHooks",
        data=("sign_in.js",),
        option='plugins.{plugin}.passwords={{ada="a secret"}}',
    ),
    "repository": Kind(
        "database",
        "DatabaseHooks",
        replaces="sqlite",
    ),
    "transport": Kind(
        "lines",
        "TransportHooks",
        sees_content=True,
    ),
    "filter": Kind("words", "FilterHooks", sees_content=True),
}
"""The kinds by name, in the order in which the documentation lists them."""
