"""The simulated developer portal, as far as servers use it: verification of proofs, the status of an RP, and faults.

It reproduces the weaknesses of the real one that a server has to handle: it trusts the caller about action and
environment, accepts any action, one valid item among several and the same proof again, and writes nullifiers in
different forms.
"""

from __future__ import annotations

import enum
from typing import NoReturn

import msgspec
import trio
from quart import Blueprint, Response, request

from evanesce.model import timestamp
from evanesce_plugins.worldid.simulator import idkit, responses, verification
from evanesce_plugins.worldid.simulator.verification import Invalid, Outcome
from evanesce_plugins.worldid.simulator.world import REGISTERED, World

HANG_UP = "evanesce.hang_up"
"""The key in a request's connection state of the function that closes its connection."""


class Fault(enum.StrEnum):
    """One kind of failure."""

    DOWN = "down"
    """The connection is closed before the request is processed."""
    SLOW = "slow"
    """The request is neither processed nor answered until the fault is removed."""
    LATE = "late"
    """The request is processed, and the connection is closed without a response."""
    HTML = "html"
    """A gateway in front of the portal responds with 503 and a page."""
    ERROR = "error"
    """The portal responds with 500, `internal_error`."""
    REFUSE = "refuse"
    """The portal responds with 200, and `success` is false."""


class Faults:
    """The present fault. `skew` is how many seconds the portal's `Date` is ahead."""

    def __init__(self) -> None:
        self.skew = 0.0
        self._fault: Fault | None = None
        self._changed = trio.Event()

    @property
    def fault(self) -> Fault | None:
        """The present fault, or None."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = trio.Event()

    async def hold(self) -> None:
        """Wait while the fault is `SLOW`."""
        while self._fault is Fault.SLOW:
            await self._changed.wait()


class Portal:
    """Responds to requests, from the state of `world`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._forms = idkit.NumberFormats()
        self._verified: dict[int, str] = {}

    def status(self, rp_id: str) -> Response:
        """Return the state of an RP's registration in both environments."""
        if not rp_id.startswith("rp_"):
            return responses.refusal(400, "invalid_rp_id", "An RP's id begins with rp_.", "rp_id")
        party = self._world.party(rp_id)
        if party is None:
            return responses.refusal(404, "not_found", "There is no such RP.", "rp_id")
        return responses.json(
            {f"{name}_status": party.statuses.get(name) for name in ("production", "staging")},
        )

    def verify(self, rp_id: str, body: bytes) -> Response:
        """Verify a proof that a server received from its page."""
        try:
            asked, items = verification.read(msgspec.json.decode(body))
        except Invalid as error:
            return responses.refusal(400, "validation_error", error.detail, error.attribute)
        except (msgspec.DecodeError, RecursionError):
            return responses.refusal(400, "invalid_request", "The body is no JSON.", app_id=rp_id)
        party = self._world.party(rp_id)
        if party is None:
            return responses.refusal(400, "app_not_migrated", "This app has no RP.", app_id=rp_id)
        # World's portal looks at production's status, whichever environment is asked for.
        if party.statuses.get("production") != REGISTERED:
            return responses.refusal(400, "rp_not_active", "The RP's registration is not active.", app_id=rp_id)
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
            return responses.json(answer, 400)
        answer = {"success": True, "environment": asked.environment, "results": outcomes, "message": "Verified."}
        if asked.session_id:
            return responses.json(answer | {"session_id": asked.session_id})
        nullifier = idkit.read_number(verified.nullifier)
        now = timestamp(int(self._world.clock() * 1000))
        return responses.json(
            answer
            | {
                "action": asked.action,
                "protocol_version": asked.protocol_version,
                "nullifier": self._forms.write(nullifier),
                "created_at": self._verified.setdefault(nullifier, now),
            }
        )


def portal_blueprint(world: World, faults: Faults) -> Blueprint:
    """Return the portal's routes."""
    blueprint = Blueprint("portal", __name__, url_prefix="/api/v4")
    portal = Portal(world)

    @blueprint.before_request
    async def fail() -> Response | None:
        """Fail before the request is processed, if the present fault says so."""
        # Read whole in any case: Hypercorn may continue to use a connection whose body was not read, and hang.
        await request.get_data()
        await faults.hold()
        match faults.fault:
            case Fault.DOWN:
                await _hang_up()
            case Fault.HTML:
                return responses.html("<h1>503 Service Temporarily Unavailable</h1>", 503)
            case Fault.ERROR:
                return responses.refusal(500, "internal_error", "Something went wrong.")
            case Fault.REFUSE:
                return responses.json({"success": False, "code": "generic_error", "detail": "Something went wrong."})
            case _:
                pass
        if not request.headers.get("User-Agent"):
            return responses.html("<h1>403 Forbidden</h1>", 403)
        return None

    @blueprint.after_request
    async def hang_up_late(response: Response) -> Response:
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
    await trio.sleep_forever()  # until Hypercorn notices the closed connection, and cancels this
