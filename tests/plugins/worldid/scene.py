"""Ada's account, and Mallory, who wants to get at it: he may send anything, and World makes every proof of his own."""

from __future__ import annotations

from typing import Any

import pytest

from evanesce_plugins.worldid.proof import bound_signal
from tests.plugins.worldid.deployment import Browser, Deployment, Refusal

Fields = dict[str, Any]


class Scene:
    """Ada has an account here and a session; Mallory is at the door with a World ID of his own.

    `code` is Ada's account code, which Mallory knows here.
    """

    def __init__(self, deployment: Deployment, ada: Browser, user_id: str, code: str, mallory: Browser) -> None:
        self.deployment = deployment
        self.ada = ada
        self.user_id = user_id
        self.code = code
        self.mallory = mallory
        self.accounts = dict(deployment.accounts.users)
        self.registered = dict(deployment.accounts.registered)

    async def asked(self, purpose: str, person: str = "mallory", **fields: Any) -> tuple[Fields, Fields]:
        """Return a challenge and a true proof for it by `person`."""
        challenge = await (self.begin(person) if purpose == "sign_up" else self.mallory.challenge(purpose, **fields))
        return challenge, self.deployment.prove(person, purpose, challenge)

    async def begin(self, person: str = "mallory") -> Fields:
        """Return a challenge to sign up, with the signal that binds the proof to a session which `person` makes."""
        challenge = await self.mallory.challenge("sign_up")
        session = self.session(person, challenge)
        return challenge | {"session": session, "signal": bound_signal(challenge["signal"], session["session_id"])}

    def session(self, person: str, challenge: Fields) -> Fields:
        """Return a true proof of a new session of `person`'s, for a challenge to sign up."""
        return self.deployment.prove(person, "create_session", challenge | {"rpContext": challenge["sessionContext"]})

    async def refused(
        self, purpose: str, challenge: Fields, result: Fields, code: str = "auth_failed", **fields: Any
    ) -> Refusal:
        """Answer as Mallory, and find the door shut."""
        with pytest.raises(Refusal) as refused:
            await self.mallory.answer(purpose, challenge, result, **with_session(challenge), **fields)
        assert refused.value.code == code, refused.value.message
        self.nobody_got_in()
        return refused.value

    def nobody_got_in(self) -> None:
        assert self.mallory.token is None
        assert self.deployment.accounts.users.keys() == self.accounts.keys()
        assert self.deployment.accounts.registered == self.registered


def with_session(challenge: Fields) -> Fields:
    """Return the session's proof that `Scene.begin` made for a challenge."""
    return {"session": challenge["session"]} if "session" in challenge else {}


def changed(result: Fields, **changes: Any) -> Fields:
    """Change the one item of a result."""
    return result | {"responses": [result["responses"][0] | changes]}
