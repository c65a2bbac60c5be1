"""The routes by which people manage the devices and the recovery codes of their account.

Who changes something has proved lately who they are: a token alone, which may have been stolen, is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import BadRequest, CommandError, ErrorCode, RateLimited
from evanesce.interfaces import Caller, HttpRequest, HttpResponse, HttpRoute, Server
from evanesce_plugins.passkey import codes, keyring, stored
from evanesce_plugins.passkey.authenticator import check_recent
from evanesce_plugins.passkey.keyring import Keyring

FOLDER = "/passkey"

BODY_BYTES = 1_024
"""The longest body of a request."""

LIST_RATE, LIST_BURST = 1, 60
"""How often a person may list the devices: so many times at once, and once a second. The page does it when it opens."""

CHANGE_RATE, CHANGE_BURST = 1 / 6, 10
"""How often a person may change something: so many times at once, and once in six seconds."""


class RemoveRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a request to remove a device."""

    device_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z", description="16 digits and letters")]


class DeviceReply(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A device of an account. `current` is whether the request is of a sign-in by this device."""

    device_id: str
    name: str
    added: str
    last_used: str
    current: bool


class DevicesReply(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The devices of an account, and how many recovery codes are left."""

    devices: list[DeviceReply]
    recovery_codes_left: int


class CodesReply(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The new recovery codes of an account. They are shown this once."""

    recovery_codes: list[str]


class DeviceRoutes:
    """The routes. `server` returns the running server."""

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server

    def routes(self) -> Sequence[HttpRoute]:
        """Return the routes."""
        return [
            HttpRoute("GET", f"{FOLDER}/devices", self.list),
            HttpRoute("POST", f"{FOLDER}/devices/remove", self.remove),
            HttpRoute("POST", f"{FOLDER}/recovery-codes", self.make_codes),
        ]

    async def list(self, request: HttpRequest) -> HttpResponse:
        """Return the devices of the account."""
        caller, code = await self._caller(request, "list", LIST_RATE, LIST_BURST)
        found = await stored.read(caller.accounts, code)
        if found is None:
            raise _no_account()
        return _listed(found[1], caller)

    async def remove(self, request: HttpRequest) -> HttpResponse:
        """Remove a device, end its sign-ins, and return the devices that are left."""
        caller, code = await self._caller(request, "change", CHANGE_RATE, CHANGE_BURST)
        device_id = _body(request).device_id
        check_recent(caller)
        _, left = await stored.change(caller.accounts, code, lambda keys: keyring.remove(keys, device_id))
        return _listed(left, caller)

    async def make_codes(self, request: HttpRequest) -> HttpResponse:
        """Replace all recovery codes, and return the new ones."""
        caller, code = await self._caller(request, "change", CHANGE_RATE, CHANGE_BURST)
        check_recent(caller)
        secrets = tuple(codes.new_secret() for _ in range(keyring.RECOVERY_CODES))
        await stored.change(caller.accounts, code, lambda keys: keyring.new_codes(keys, secrets, caller.sign_in_id))
        return _answer(CodesReply(recovery_codes=[codes.written(code, secret) for secret in secrets]))

    async def _caller(self, request: HttpRequest, limit: str, rate: float, burst: int) -> tuple[Caller, str]:
        """Return who sends a request, and the account code. Raises `CommandError`, also above this limit."""
        server = self._server()
        caller = await server.caller(request)
        code = stored.account_code_of(caller)
        if caller.user is None or not code:
            raise _no_account()
        wait = await server.shared.take(f"{limit} {caller.user.user_id}", rate, burst)
        if wait:
            raise RateLimited("Too many requests about your devices. Wait a moment.", wait)
        return caller, code


def _body(request: HttpRequest) -> RemoveRequest:
    """Return the body of a request. Raises `BadRequest`."""
    if len(request.body) > BODY_BYTES:
        raise BadRequest("deviceId", "This request is too long.")
    try:
        return msgspec.json.decode(request.body, type=RemoveRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadRequest("deviceId", "Name the device by its `deviceId`.") from None


def _listed(keys: Keyring, caller: Caller) -> HttpResponse:
    devices = [
        DeviceReply(
            device_id=device.device_id,
            name=device.name,
            added=device.added,
            last_used=device.used,
            current=caller.sign_in_id in device.sign_ins,
        )
        for device in keys.devices
    ]
    return _answer(DevicesReply(devices=devices, recovery_codes_left=len(keys.recovery.hashes)))


def _answer(reply: DevicesReply | CodesReply) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(reply), headers={"Cache-Control": "no-store"})


def _no_account() -> CommandError:
    return CommandError(ErrorCode.FORBIDDEN, "This account does not sign in by passkeys.")
