"""World's developer portal, as far as servers use it: verification of proofs, and the status of an RP.

It keeps the real one's ways that a server has to withstand: it believes the caller on action and environment, takes
any action, one good item of several and the same proof again, and writes a nullifier now so and now otherwise.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec
import trio
from quart import Blueprint, Response, request

from evanesce.model import timestamp
from evanesce_plugins.worldid.simulator import forms, replies, verification
from evanesce_plugins.worldid.simulator.faults import Fault, Faults
from evanesce_plugins.worldid.simulator.verification import Invalid, Outcome
from evanesce_plugins.worldid.simulator.world import REGISTERED, World

HANG_UP = "evanesce.hang_up"
"""Under which a request's connection state has the function that closes its connection."""


class Portal:
    """Answers for `world`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._forms = forms.Forms()
        self._verified: dict[int, str] = {}

    def status(self, rp_id: str) -> Response:
        """Say how an RP's registration is in both environments."""
        if not rp_id.startswith("rp_"):
            return replies.refusal(400, "invalid_rp_id", "An RP's id begins with rp_.", "rp_id")
        party = self._world.party(rp_id)
        if party is None:
            return replies.refusal(404, "not_found", "There is no such RP.", "rp_id")
        return replies.json(
            {f"{name}_status": party.statuses.get(name) for name in ("production", "staging")},
        )

    def verify(self, rp_id: str, body: bytes) -> Response:
        """Verify what a server was given by its page."""
        try:
            asked, items = verification.read(msgspec.json.decode(body))
        except Invalid as error:
            return replies.refusal(400, "validation_error", error.detail, error.attribute)
        except (msgspec.DecodeError, RecursionError):
            return replies.refusal(400, "invalid_request", "The body is no JSON.", app_id=rp_id)
        party = self._world.party(rp_id)
        if party is None:
            return replies.refusal(400, "app_not_migrated", "This app has no RP.", app_id=rp_id)
        # World's portal looks at production's status, whichever environment is asked for.
        if party.statuses.get("production") != REGISTERED:
            return replies.refusal(400, "rp_not_active", "The RP's registration is not active.", app_id=rp_id)
        outcomes = [verification.outcome(self._world, rp_id, party.app_id, asked, item) for item in items]
        return self._answer(asked, outcomes)

    def _answer(self, asked: verification.Request, outcomes: list[Outcome]) -> Response:
        verified = next((outcome for outcome in outcomes if outcome.success), None)
        if verified is None or verified.nullifier is None:
            answer = {
                "success": False,
                "code": "all_verifications_failed",
                "detail": "No proof holds.",
                "results": outcomes,
            }
            return replies.json(answer, 400)
        answer = {"success": True, "environment": asked.environment, "results": outcomes, "message": "Verified."}
        if asked.session_id:
            return replies.json(answer | {"session_id": asked.session_id})
        nullifier = forms.read(verified.nullifier)
        now = timestamp(int(self._world.clock() * 1000))
        return replies.json(
            answer
            | {
                "action": asked.action,
                "protocol_version": asked.protocol_version,
                "nullifier": self._forms.write(nullifier),
                "created_at": self._verified.setdefault(nullifier, now),
            }
        )


def portal_blueprint(world: World, faults: Faults) -> Blueprint:
    """Give the portal's routes."""
    blueprint = Blueprint("portal", __name__, url_prefix="/api/v4")
    portal = Portal(world)

    @blueprint.before_request
    async def fail() -> Response | None:
        """Fail before anything is done, where that is wanted."""
        # Whole, whatever becomes of it: Hypercorn may go on with a connection of which a body was not read, and hang.
        await request.get_data()
        await faults.hold()
        match faults.fault:
            case Fault.DOWN:
                await _hang_up()
            case Fault.HTML:
                return replies.html("<h1>503 Service Temporarily Unavailable</h1>", 503)
            case Fault.ERROR:
                return replies.refusal(500, "internal_error", "Something went wrong.")
            case Fault.REFUSE:
                return replies.json({"success": False, "code": "generic_error", "detail": "Something went wrong."})
            case _:
                pass
        if not request.headers.get("User-Agent"):
            return replies.html("<h1>403 Forbidden</h1>", 403)
        return None

    @blueprint.after_request
    async def be_late(response: Response) -> Response:
        if faults.fault is Fault.LATE:
            await _hang_up()
        return response

    @blueprint.post("/verify/<rp_id>")
    async def verify(rp_id: str) -> Response:
        body: bytes = await request.body
        return portal.verify(rp_id, body)

    @blueprint.get("/rp-status/<rp_id>")
    async def rp_status(rp_id: str) -> Response:
        return portal.status(rp_id)

    return blueprint


async def _hang_up() -> NoReturn:
    request.scope["state"][HANG_UP]()
    await trio.sleep_forever()  # until Hypercorn, which finds nobody there, cancels this
