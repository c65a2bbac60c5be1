"""The protocol's commands over HTTP, which a page needs before it has a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway
from evanesce.listening import Client
from evanesce.protocol import codec
from evanesce.protocol.commands import Challenge, Command
from evanesce.protocol.events import Reply
from evanesce_transports.admission import bearer
from evanesce_transports.quart.asgi import CLIENT
from evanesce_transports.quart.responses import API_PREFIX, json_reply

_fields: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def api_blueprint(gateway: Gateway) -> Blueprint:
    """Return the routes of the API."""
    blueprint = Blueprint("api", __name__, url_prefix=API_PREFIX)

    async def execute(command: Command) -> Reply:
        return await gateway.execute(command, bearer=_bearer(), address=_client().address, local=_client().local)

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
            client = _client()
            signed_in = await gateway.sign_in(
                await _credential(), bearer=_bearer(), address=client.address, local=client.local
            )
        except CommandError as error:
            # The body is the credential itself.
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
        return await answer(_command("update_profile", await _options()))

    @blueprint.delete("/me")
    async def forget_me() -> Response:
        return await answer_nothing(_command("forget_me"))

    @blueprint.post("/rooms")
    async def create_room() -> Response:
        return await answer(_command("create_room", await _options()), 201)

    @blueprint.get("/rooms")
    async def rooms() -> Response:
        return await answer(_command("rooms", _query_after()))

    @blueprint.get("/rooms/<room_id>")
    async def room(room_id: str) -> Response:
        return await answer(_command("room", {"roomId": room_id}))

    @blueprint.delete("/rooms/<room_id>")
    async def close_room(room_id: str) -> Response:
        return await answer_nothing(_command("close_room", {"roomId": room_id}))

    @blueprint.patch("/rooms/<room_id>")
    async def update_room(room_id: str) -> Response:
        return await answer(_command("update_room", {**await _options(), "roomId": room_id}))

    @blueprint.post("/rooms/<room_id>/invites")
    async def invite(room_id: str) -> Response:
        return await answer(_command("invite", {**await _options(), "roomId": room_id}), 201)

    @blueprint.get("/rooms/<room_id>/invites")
    async def invites(room_id: str) -> Response:
        return await answer(_command("invites", {"roomId": room_id}))

    @blueprint.delete("/rooms/<room_id>/invites/<invite_id>")
    async def revoke_invite(room_id: str, invite_id: str) -> Response:
        return await answer_nothing(_command("revoke_invite", {"roomId": room_id, "inviteId": invite_id}))

    @blueprint.delete("/rooms/<room_id>/members/<user_id>")
    async def remove_member(room_id: str, user_id: str) -> Response:
        fields = {"roomId": room_id, "userId": user_id, **_query_number("banSeconds")}
        return await answer_nothing(_command("remove_member", fields))

    @blueprint.get("/rooms/<room_id>/bans")
    async def bans(room_id: str) -> Response:
        return await answer(_command("bans", {"roomId": room_id, **_query_after()}))

    @blueprint.delete("/rooms/<room_id>/bans/<user_id>")
    async def unban(room_id: str, user_id: str) -> Response:
        return await answer_nothing(_command("unban", {"roomId": room_id, "userId": user_id}))

    @blueprint.put("/rooms/<room_id>/mutes/<user_id>")
    async def mute(room_id: str, user_id: str) -> Response:
        return await answer_nothing(_command("mute", {**await _body(), "roomId": room_id, "userId": user_id}))

    @blueprint.post("/rooms/<room_id>/votes")
    async def vote_remove(room_id: str) -> Response:
        return await answer(_command("vote_remove", {**await _body(), "roomId": room_id}))

    return blueprint


def _query_after() -> dict[str, str]:
    """Return the page that a request asks for, as the field of a command."""
    return {name: value for name, value in request.args.items() if name == "after"}


def _command(kind: str, fields: Mapping[str, Any] | None = None) -> Command:
    """Return a command, with the same checks as on a connection. Raises `CommandError`."""
    return codec.decode(msgspec.json.encode({**(fields or {}), "type": kind}).decode())


async def _credential() -> Mapping[str, Any]:
    """Return the body as a credential, with the checks of a challenge, which has the same form: {`provider`, …}.

    In a `hello` the credential would be nested one level deeper than the body.
    """
    command = _command("challenge", await _body())
    if not isinstance(command, Challenge):
        raise AssertionError("a challenge was decoded as another command")
    return {"provider": command.provider, **command.request}


async def _body() -> dict[str, msgspec.Raw]:
    """Return the fields of the body, a JSON object, without those that the protocol defines for every command."""
    body: bytes = await request.body
    try:
        fields = _fields.decode(body.decode())
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise CommandError(ErrorCode.BAD_FRAME, "The body has to be one JSON object.") from None
    fields.pop("type", None)
    fields.pop("ref", None)
    return fields


async def _options() -> dict[str, msgspec.Raw]:
    """Return the fields of a body that may be empty, because all of them are optional."""
    return await _body() if await request.body else {}


def _query_number(name: str) -> dict[str, float | str]:
    """Return a number of the query as a field; text that is no number as it is, which the command refuses."""
    text = request.args.get(name)
    if text is None:
        return {}
    try:
        return {name: msgspec.json.decode(text, type=float)}
    except msgspec.DecodeError:
        return {name: text}


def _bearer() -> str | None:
    return bearer(request.headers.get("Authorization"))


def _client() -> Client:
    client: Client = request.scope["state"][CLIENT]
    return client
