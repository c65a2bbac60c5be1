"""A third party's plugin: a way to sign in that always fails, and a filter that refuses, changes and breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from evanesce.errors import AuthFailed, AuthUnavailable, Rejected
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge, Setup
from evanesce.model import Draft, Identity


class Walker:
    provider = "walker"
    loopback_only = True

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *error: object) -> object:
        return None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        return Challenge({"echo": request["echo"]})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        if credential["outcome"] == "auth_unavailable":
            raise AuthUnavailable
        raise AuthFailed("That proves nothing.")

    async def check(self) -> str:
        return "always the same"


evanesce_sees_content = True


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    return Walker()


@hookimpl
async def evanesce_filter_message(draft: Draft) -> Draft | None:
    if "forbidden" in draft.content:
        raise Rejected("Not that word.")
    if "broken" in draft.content:
        raise ValueError(draft.content)
    return msgspec.structs.replace(draft, content=draft.content.upper()) if "shout" in draft.content else None
