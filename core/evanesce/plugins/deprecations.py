"""What a plugin uses that a coming version of the plugin API will not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evanesce.hookspecs import DEPRECATIONS, Deprecation
from evanesce.interfaces import Finding


def deprecation_findings(used: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return a finding for each deprecated hook or argument that a plugin uses.

    `used` has the arguments that the plugin takes, by the names of the hooks that it implements.
    """
    return [
        _finding(deprecation)
        for deprecation in DEPRECATIONS
        if deprecation.hook in used and (deprecation.argument is None or deprecation.argument in used[deprecation.hook])
    ]


def _finding(deprecation: Deprecation) -> Finding:
    what = deprecation.hook
    if deprecation.argument is not None:
        what = f"the argument {deprecation.argument} of {what}"
    return Finding(
        f"it uses {what}, which is deprecated since version {deprecation.since} of the plugin API,"
        f" and which version {deprecation.until} will not have",
        f"Its author has to use {deprecation.instead} instead. Look for a newer version of the plugin.",
    )
