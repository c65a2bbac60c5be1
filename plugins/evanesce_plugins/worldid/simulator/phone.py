"""The simulated World App: takes a request from the bridge, has the simulated World prove it, and responds.

It uses the simulator's own bridge alone, and has one credential, proof_of_human.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from evanesce.confidential import Confidential
from evanesce_plugins.worldid.encoding import hash_to_field, number
from evanesce_plugins.worldid.rp_signature import RpContext
from evanesce_plugins.worldid.simulator import bridge, idkit
from evanesce_plugins.worldid.simulator.bridge import Bridge
from evanesce_plugins.worldid.simulator.idkit import Kind, NumberFormats, ProofRequest
from evanesce_plugins.worldid.simulator.proofs import PROOF_OF_HUMAN, LegacyProven, Proven, SessionId, action_number
from evanesce_plugins.worldid.simulator.world import Refused, World

_NEW_SESSION = "create"


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One requested credential; `signal` is bytes, as `0x` and digits."""

    identifier: str
    issuer_schema_id: int
    signal: str | None = None
    expires_at_min: int | None = None


class _ProofRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the protocol of World ID 4.0; `action` is its number."""

    id: str
    rp_id: str
    nonce: str
    created_at: int
    expires_at: int
    signature: str
    proof_requests: list[_Item]
    action: str | None = None
    session_id: str | None = None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request of IDKit 4.3.0 at the bridge; `signal` is the hash for a proof of World ID 3.0.

    With its preset `orbLegacy` IDKit requests only such a proof: then there is no `proof_request`.
    """

    app_id: str
    signal: str
    proof_request: _ProofRequest | None = None
    verification_level: str | None = None
    action: str = ""
    allow_legacy_proofs: bool = False
    environment: str = "production"


class BadLink(Exception):
    """The link is not one of a request that this phone can answer."""


@dataclass(frozen=True, slots=True, repr=False)
class _Link(Confidential):
    key: str
    secret: bytes

    @classmethod
    def parse(cls, uri: str) -> _Link:
        try:
            fields = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
            secret = bridge.read_base64(fields.get("k", ""))
        except ValueError:
            raise BadLink("this is not a link of IDKit") from None
        if fields.get("t") != "wld" or "i" not in fields or len(secret) != bridge.KEY_BYTES:
            raise BadLink("this is not a link of IDKit")
        # IDKit omits it for World's own bridge.
        if "b" not in fields:
            raise BadLink("this request is at World's own bridge: give bridge_url to IDKit")
        return cls(fields["i"], secret)


class Phone:
    """Responds in the name of any person."""

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._bridge = bridge
        self._forms = NumberFormats()

    def scan(self, person: str, uri: str, *, reject: bool = False, legacy: bool = False) -> str | None:
        """Respond to the request of a link with a proof (of World ID 3.0 if `legacy`), or, with `reject`, a refusal.

        Returns None for a proof, and the code of an error, as IDKit returns it to the page. Raises `BadLink`.
        """
        link = _Link.parse(uri)
        request = self._bridge.take(link.key)
        if request is None:
            raise BadLink("there is no such request: it was taken before, or has expired")
        try:
            message = bridge.unseal(link.secret, request)
        except ValueError:
            raise BadLink("the link's key does not decrypt this request") from None
        code: str | None = None
        try:
            if reject:
                raise Refused("user_rejected")
            response = self._prove(person, message, legacy=legacy)
        except Refused as refused:
            code = refused.code
            response = {"error_code": code}
        if self._bridge.answer(link.key, bridge.seal(link.secret, msgspec.json.encode(response))) != 201:
            raise BadLink("this request has expired")
        return code

    def _prove(self, person: str, message: bytes, *, legacy: bool) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(message, type=_Request)
            wanted = request.proof_request
            if wanted is None:
                return self._prove_orb(person, request)
            asked = _asked(request, wanted)
        except (msgspec.DecodeError, ValueError):
            raise Refused("malformed_request") from None
        if legacy:
            return self._legacy_response(self._world.prove_legacy(person, asked))
        return {"proof_response": _response(wanted.id, self._world.prove(person, asked))}

    def _prove_orb(self, person: str, request: _Request) -> dict[str, Any]:
        """Respond to a request for a proof of World ID 3.0. Raises `ValueError` for a malformed one, and `Refused`."""
        if not request.allow_legacy_proofs or not request.action:
            raise ValueError("a request without a proof_request is for a proof of World ID 3.0")
        if request.verification_level != idkit.LEGACY_IDENTIFIER:
            raise Refused("credential_unavailable")
        about = (request.app_id, request.environment, request.action, number(request.signal))
        return self._legacy_response(self._world.prove_orb(person, *about))

    def _legacy_response(self, made: LegacyProven) -> dict[str, Any]:
        return {
            "proof": f"0x{made.proof.hex()}",
            "merkle_root": f"0x{made.root:064x}",
            "nullifier_hash": self._forms.write(made.statement.nullifier),
            "verification_level": idkit.LEGACY_IDENTIFIER,
        }


def _asked(request: _Request, wanted: _ProofRequest) -> ProofRequest:
    """Convert a request. Raises `ValueError` for a malformed one, and `Refused` for an unknown credential."""
    # There is one credential, so the rules for choosing among several do not matter.
    if [(item.identifier, item.issuer_schema_id) for item in wanted.proof_requests] != [
        (idkit.IDENTIFIER, PROOF_OF_HUMAN)
    ]:
        raise Refused("credential_unavailable")
    [item] = wanted.proof_requests
    kind, session = Kind.UNIQUENESS, None
    if wanted.session_id == _NEW_SESSION:
        kind = Kind.CREATE_SESSION
    elif wanted.session_id is not None:
        kind, session = Kind.PROVE_SESSION, SessionId.parse(wanted.session_id)
    elif wanted.action is None or number(wanted.action) != action_number(request.action):
        raise ValueError("the action and its number differ")
    number(wanted.nonce)
    signal = None if item.signal is None else bytes.fromhex(item.signal.removeprefix("0x"))
    return ProofRequest(
        kind=kind,
        app_id=request.app_id,
        environment=request.environment,
        context=RpContext(
            rp_id=wanted.rp_id,
            nonce=wanted.nonce,
            created_at=wanted.created_at,
            expires_at=wanted.expires_at,
            signature=wanted.signature,
        ),
        action=request.action if kind is Kind.UNIQUENESS else None,
        session=session,
        signal_hash=0 if signal is None else int.from_bytes(hash_to_field(signal), "big"),
        legacy_signal_hash=number(request.signal),
        expires_at_min=wanted.created_at if item.expires_at_min is None else item.expires_at_min,
        legacy_allowed=request.allow_legacy_proofs,
    )


def _response(request_id: str, proven: Proven) -> dict[str, Any]:
    """Return a proof in the JSON of the protocol, which IDKit converts to its result."""
    statement = proven.statement
    item: dict[str, Any] = {
        "identifier": idkit.IDENTIFIER,
        "issuer_schema_id": statement.issuer_schema_id,
        "proof": "".join(f"{part:064x}" for part in proven.proof),
        "expires_at_min": statement.expires_at_min,
    }
    response: dict[str, Any] = {"id": request_id, "version": 1, "responses": [item]}
    if proven.session is None:
        item["nullifier"] = f"nil_{statement.nullifier:064x}"
    else:
        item["session_nullifier"] = f"snil_{statement.nullifier:064x}{statement.action:064x}"
        response["session_id"] = str(proven.session)
    return response
