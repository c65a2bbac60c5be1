"""What plugins declare of themselves: the version of the plugin API that they fit, and whether they see content.

A declaration is an attribute of the module or object that is the plugin, so that it can be read before any of its hooks
is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evanesce.hookspecs import API, CONTENT_HOOKS, FIRST_API

API_ATTRIBUTE = "evanesce_api"
CONTENT_ATTRIBUTE = "evanesce_sees_content"

_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a plugin declares: `api` is a version, `major.minor`."""

    api: str
    sees_content: bool


class WrongDeclaration(Exception):
    """A declaration cannot be used. The text says what to do; a value in it is a valid version."""


def read_declarations(plugin: object) -> Declarations:
    """Return what a plugin declares. Raises `WrongDeclaration`, also for a version of the API that does not fit.

    Raises whatever the plugin raises when its attributes are read.
    """
    api: object = getattr(plugin, API_ATTRIBUTE, FIRST_API)
    sees_content: object = getattr(plugin, CONTENT_ATTRIBUTE, False)
    if not isinstance(api, str) or not _VERSION.fullmatch(api):
        raise WrongDeclaration(f'its {API_ATTRIBUTE} is no version of the plugin API: write it as in "{API}"')
    if not isinstance(sees_content, bool):
        raise WrongDeclaration(f"its {CONTENT_ATTRIBUTE} is neither True nor False")
    if (problem := _api_problem(api)) is not None:
        raise WrongDeclaration(problem)
    return Declarations(api, sees_content)


def undeclared(declarations: Declarations, hooks: list[str]) -> str | None:
    """Return what is wrong with the hooks that a plugin implements, by its declarations; None: nothing."""
    if declarations.sees_content:
        return None
    for hook in hooks:
        if hook in CONTENT_HOOKS:
            return (
                f"{hook} is handed the content of messages, and the plugin does not declare it:"
                f" its author has to write {CONTENT_ATTRIBUTE} = True beside the hook"
            )
    return None


def _api_problem(made_for: str) -> str | None:
    """Return why a plugin for one version of the API cannot be used with this one; None: it can be."""
    wanted, present = _numbers(made_for), _numbers(API)
    if wanted[0] == present[0] and wanted[1] <= present[1]:
        return None
    what = f"it is made for version {made_for} of the plugin API, and this version of Evanesce has {API}"
    if wanted > present:
        return f"{what}: install a newer version of Evanesce, or an older one of the plugin"
    return f"{what}: install a newer version of the plugin"


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)
