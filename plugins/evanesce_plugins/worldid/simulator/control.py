"""What tests and somebody at a staging ask of the simulator itself: a phone, proofs without a browser, and faults."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.rp_signature import RpContext
from evanesce_plugins.worldid.simulator import forms, replies, results
from evanesce_plugins.worldid.simulator.asked import Asked, Kind, SessionId
from evanesce_plugins.worldid.simulator.faults import Fault, Faults
from evanesce_plugins.worldid.simulator.page import NAME_LENGTH
from evanesce_plugins.worldid.simulator.phone import BadLink, Phone
from evanesce_plugins.worldid.simulator.world import Refused, World

Person = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
"""Any name is somebody."""


class ProveRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A challenge as Evanesce gives it to the page, with its purpose, and who is to answer it."""

    person: Person
    purpose: Literal["sign_up", "create_session", "sign_in"]
    app_id: str
    rp_id: str
    environment: str
    signal: str
    rp_context: RpContext
    action: str | None = None
    session_id: str | None = None
    legacy: bool = False
    legacy_proofs: bool = False


class ScanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose phone is to answer which of IDKit's links, and how."""

    person: Person
    uri: str
    reject: bool = False
    legacy: bool = False


class FaultRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to go wrong from now on: what is left out does not."""

    fault: Fault | None = None
    skew: float = 0.0


def asked_of(wanted: ProveRequest) -> Asked:
    """Read a challenge as IDKit would pass it on. Raises `ValueError` for what IDKit would not."""
    if wanted.rp_id != wanted.rp_context.rp_id:
        raise ValueError("rpId and rpContext.rp_id differ")
    encoding.number(wanted.rp_context.nonce)
    kind, action, session = Kind.UNIQUENESS, wanted.action, None
    if wanted.purpose == "sign_up":
        if not action:
            raise ValueError("signing up needs an action")
    else:
        kind, action = Kind.CREATE_SESSION, None
        if wanted.purpose == "sign_in":
            kind, session = Kind.PROVE_SESSION, SessionId.parse(wanted.session_id or "")
    signal_hash = encoding.number(encoding.signal_hash(wanted.signal))
    return Asked(
        kind=kind,
        app_id=wanted.app_id,
        environment=wanted.environment,
        context=wanted.rp_context,
        action=action,
        session=session,
        signal_hash=signal_hash,
        legacy_signal_hash=signal_hash,
        expires_at_min=wanted.rp_context.created_at,
        legacy_allowed=wanted.legacy_proofs,
    )


def control_blueprint(world: World, faults: Faults, phone: Phone) -> Blueprint:
    """Give the routes."""
    blueprint = Blueprint("control", __name__, url_prefix="/simulator")
    written = forms.Forms()

    @blueprint.errorhandler(msgspec.DecodeError)
    @blueprint.errorhandler(ValueError)
    async def wrong(error: Exception) -> Response:
        return replies.refusal(400, "invalid_request", str(error))

    @blueprint.post("/prove")
    async def prove() -> Response:
        """Answer as IDKit's `pollUntilCompletion` does."""
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=ProveRequest)
        asked = asked_of(wanted)
        try:
            if wanted.legacy:
                result = results.legacy_result(asked, world.prove_legacy(wanted.person, asked), written)
            else:
                result = results.result(asked, world.prove(wanted.person, asked), written)
        except Refused as refused:
            return replies.json({"success": False, "error": refused.code})
        return replies.json({"success": True, "result": result})

    @blueprint.post("/scan")
    async def scan() -> Response:
        """Say what the phone answered to the page."""
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=ScanRequest)
        try:
            code = phone.scan(wanted.person, wanted.uri, reject=wanted.reject, legacy=wanted.legacy)
        except BadLink as error:
            return replies.refusal(400, "bad_link", str(error))
        return replies.json({"success": True} if code is None else {"success": False, "error": code})

    @blueprint.post("/fault")
    async def fault() -> Response:
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=FaultRequest)
        if not math.isfinite(wanted.skew) or abs(wanted.skew) > 1e9:
            raise ValueError("skew is in seconds")
        faults.fault, faults.skew = wanted.fault, wanted.skew
        return replies.json(wanted)

    return blueprint
