"""The HTTP API of the simulator for tests and staging: a phone, proofs without a browser, and faults."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.rp_signature import RpContext
from evanesce_plugins.worldid.simulator import idkit, responses
from evanesce_plugins.worldid.simulator.idkit import Kind, ProofRequest
from evanesce_plugins.worldid.simulator.page import NAME_LENGTH
from evanesce_plugins.worldid.simulator.phone import BadLink, Phone
from evanesce_plugins.worldid.simulator.portal import Fault, Faults
from evanesce_plugins.worldid.simulator.proofs import SessionId
from evanesce_plugins.worldid.simulator.world import Refused, World

Person = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
"""Any name is a person."""


class ProveRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A challenge as Evanesce sends it to the page, with its purpose, and the person who answers it."""

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
    """The person whose phone answers one of IDKit's links, and how."""

    person: Person
    uri: str
    reject: bool = False
    legacy: bool = False


class FaultRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faults from now on; omitted fields mean none."""

    fault: Fault | None = None
    skew: float = 0.0


def asked_of(wanted: ProveRequest) -> ProofRequest:
    """Convert a challenge as IDKit would. Raises `ValueError` for one that IDKit would refuse."""
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
    return ProofRequest(
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
    """Return the routes."""
    blueprint = Blueprint("control", __name__, url_prefix="/simulator")
    written = idkit.NumberFormats()

    @blueprint.errorhandler(msgspec.DecodeError)
    @blueprint.errorhandler(ValueError)
    async def wrong(error: Exception) -> Response:
        return responses.refusal(400, "invalid_request", str(error))

    @blueprint.post("/prove")
    async def prove() -> Response:
        """Respond with the result of IDKit's `pollUntilCompletion`."""
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=ProveRequest)
        asked = asked_of(wanted)
        try:
            if wanted.legacy:
                result = idkit.legacy_result(asked, world.prove_legacy(wanted.person, asked), written)
            else:
                result = idkit.result(asked, world.prove(wanted.person, asked), written)
        except Refused as refused:
            return responses.json({"success": False, "error": refused.code})
        return responses.json({"success": True, "result": result})

    @blueprint.post("/scan")
    async def scan() -> Response:
        """Respond with the answer of the phone to the page."""
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=ScanRequest)
        try:
            code = phone.scan(wanted.person, wanted.uri, reject=wanted.reject, legacy=wanted.legacy)
        except BadLink as error:
            return responses.refusal(400, "bad_link", str(error))
        return responses.json({"success": True} if code is None else {"success": False, "error": code})

    @blueprint.post("/fault")
    async def fault() -> Response:
        body: bytes = await request.body
        wanted = msgspec.json.decode(body, type=FaultRequest)
        if not math.isfinite(wanted.skew) or abs(wanted.skew) > 1e9:
            raise ValueError("skew is in seconds")
        faults.fault, faults.skew = wanted.fault, wanted.skew
        return responses.json(wanted)

    return blueprint
