"""The protocol's operations over HTTP, for what a page needs before it has a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway
from evanesce.protocol import codec
from evanesce.protocol.commands import Challenge, Command
from evanesce.protocol.events import Reply
from evanesce_transports.admission import bearer
from evanesce_transports.quart.replies import json_reply
from evanesce_transports.quart.scope import CLIENT

PREFIX = "/api/v1"

_fields: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def api_blueprint(gateway: Gateway) -> Blueprint:
    """Give the routes of the protocol's HTTP table."""
    blueprint = Blueprint("api", __name__, url_prefix=PREFIX)

    async def execute(command: Command) -> Reply:
        return await gateway.execute(command, bearer=_bearer(), address=_address())

    async def answer(command: Command, status: int = 200) -> Response:
        return json_reply(codec.bare(await execute(command)), status)

    async def answer_nothing(command: Command) -> Response:
        await execute(command)
        return Response(b"", status=204)

    @blueprint.post("/challenge")
    async def challenge() -> Response:
        return await answer(_command("challenge", await _body()))

    @blueprint.post("/session")
    async def sign_in() -> Response:
        try:
            signed_in = await gateway.sign_in(await _credential(), bearer=_bearer(), address=_address())
        except CommandError as error:
            # Here the body is the credential itself.
            error.field = error.field and error.field.removeprefix("credential.")
            raise
        welcome = codec.bare(signed_in.reply)
        kept = {name: welcome[name] for name in ("token", "tokenExpiresAt", "userId", "displayName") if name in welcome}
        return json_reply(kept, 201 if signed_in.created else 200)

    @blueprint.delete("/session")
    async def sign_out() -> Response:
        return await answer_nothing(_command("sign_out"))

    @blueprint.post("/session/refresh")
    async def refresh() -> Response:
        return await answer(_command("refresh"))

    @blueprint.get("/me")
    async def profile() -> Response:
        return await answer(_command("profile"))

    @blueprint.patch("/me")
    async def update_profile() -> Response:
        return await answer(_command("update_profile", await _body()))

    @blueprint.delete("/me")
    async def forget_me() -> Response:
        return await answer_nothing(_command("forget_me"))

    @blueprint.post("/rooms")
    async def create_room() -> Response:
        return await answer(_command("create_room"), 201)

    @blueprint.get("/rooms")
    async def rooms() -> Response:
        return await answer(_command("rooms", {name: value for name, value in request.args.items() if name == "after"}))

    @blueprint.get("/rooms/<room_id>")
    async def room(room_id: str) -> Response:
        return await answer(_command("room", {"roomId": room_id}))

    @blueprint.delete("/rooms/<room_id>")
    async def close_room(room_id: str) -> Response:
        return await answer_nothing(_command("close_room", {"roomId": room_id}))

    return blueprint


def _command(kind: str, fields: Mapping[str, Any] | None = None) -> Command:
    """Make a command by the same checks as on a connection. Raises `CommandError`."""
    return codec.decode(msgspec.json.encode({**(fields or {}), "type": kind}).decode())


async def _credential() -> Mapping[str, Any]:
    """Read the body as a credential, by the checks of a challenge, which has the same shape: {`provider`, …}.

    Within a `hello` it would nest one level deeper than the body does.
    """
    command = _command("challenge", await _body())
    if not isinstance(command, Challenge):
        raise AssertionError("a challenge was read as something else")
    return {"provider": command.provider, **command.request}


async def _body() -> dict[str, msgspec.Raw]:
    """Read the body, one JSON object, without the names that are the protocol's own."""
    body: bytes = await request.body
    try:
        fields = _fields.decode(body.decode())
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise CommandError(ErrorCode.BAD_FRAME, "The body is one JSON object.") from None
    fields.pop("type", None)
    fields.pop("ref", None)
    return fields


def _bearer() -> str | None:
    return bearer(request.headers.get("Authorization"))


def _address() -> str:
    address: str = request.scope["state"][CLIENT].address
    return address
