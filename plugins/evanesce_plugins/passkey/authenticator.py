"""Sign-in with passkeys: a new account, an account that exists, one more device of it, and recovery codes."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import trio
from msgspec import Meta

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed, BadRequest, CommandError, ErrorCode, RateLimited
from evanesce.interfaces import Answered, Caller, Challenge, SharedLimits
from evanesce.model import Identity, KnownUser, Registration
from evanesce.protocol.fields import display_name
from evanesce_plugins.passkey import ceremonies, codes, keyring, stored
from evanesce_plugins.passkey.ceremonies import Ceremonies, NewKey, PublicKeyCredential
from evanesce_plugins.passkey.keyring import Change, Keyring
from evanesce_plugins.passkey.settings import RelyingParty

logger = logging.getLogger(__name__)

CHALLENGE_SECONDS = 300
"""The lifetime of a challenge: a person may have to find a security key, or a telephone, first."""

RECENT_SECONDS = 600
"""How old a sign-in may be that changes devices or recovery codes: a token may have been stolen since."""

RECOVERY_RATE, RECOVERY_BURST = 1 / 300, 5
"""How many attempts with recovery codes an account has: so many at once, and one in five minutes."""

Purpose = Literal["sign_up", "sign_in", "add_device"]


class Request(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request for a challenge. `display_name` is the name of a new account."""

    purpose: Purpose
    display_name: str | None = None


class Asked(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """What the server stores of a challenge: its purpose, and the account that it is for.

    `account_code` is None where any account may sign in. `display_name` is that of a new account.
    """

    purpose: Purpose
    challenge: bytes
    account_code: str | None = None
    display_name: str = ""


class Credential(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a challenge, or a recovery code."""

    passkey: PublicKeyCredential | None = None
    device_name: Annotated[str, Meta(max_length=256)] | None = None
    recovery_code: Annotated[str, Meta(max_length=codes.LONGEST_INPUT)] | None = None


class PasskeyAuthenticator:
    """Implements `evanesce.interfaces.Authenticator` for passkeys. `clock` returns the time of today.

    `limits` returns the limits that all servers share.
    """

    provider = stored.PROVIDER
    loopback_only = False

    def __init__(
        self,
        party: RelyingParty,
        limits: Callable[[], SharedLimits],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._party = party
        self._limits = limits
        self._clock = clock
        self._ceremonies = Ceremonies(party, CHALLENGE_SECONDS)

    async def __aenter__(self) -> PasskeyAuthenticator:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return f"passkeys for {self._party.id}, on pages of {self._party.origin}"

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return the options for a browser, as `publicKey`, for one of the three purposes."""
        wanted = msgspec.convert(request, Request)
        challenge = secrets.token_bytes(32)
        match wanted.purpose:
            case "sign_up":
                name = self._name(wanted)
                code = codes.new_account_code()
                asked = Asked(purpose="sign_up", challenge=challenge, account_code=code, display_name=name)
                options = self._ceremonies.creation_options(challenge, code, name, [])
            case "add_device":
                name = check_recent(caller)
                code, keys = await self._own(caller)
                if len(keys.devices) >= keyring.MOST_DEVICES:
                    raise keyring.full()
                asked = Asked(purpose="add_device", challenge=challenge, account_code=code)
                options = self._ceremonies.creation_options(challenge, code, name, _credentials(keys))
            case "sign_in":
                # Who has signed in confirms it by a device of this account.
                known = await self._own(caller) if stored.account_code_of(caller) else None
                asked = Asked(purpose="sign_in", challenge=challenge, account_code=known and known[0])
                options = self._ceremonies.request_options(challenge, _credentials(known[1]) if known else [])
        kept = msgspec.json.encode(asked)
        return Challenge({"purpose": wanted.purpose, "publicKey": options}, kept=kept, seconds=CHALLENGE_SECONDS)

    @staticmethod
    def _name(wanted: Request) -> str:
        if wanted.display_name is None:
            raise BadRequest("displayName", "A new account needs a name.")
        return display_name(wanted.display_name)

    async def _own(self, caller: Caller) -> tuple[str, Keyring]:
        """Return the account code and the keyring of a caller who has signed in."""
        code = stored.account_code_of(caller)
        found = await stored.read(caller.accounts, code) if code else None
        if code is None or found is None:
            raise CommandError(ErrorCode.FORBIDDEN, "This account does not sign in by passkeys.")
        return code, found[1]

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Return the account of a key that has answered a challenge, or of a recovery code."""
        given = msgspec.convert(credential, Credential)
        if (given.passkey is None) == (given.recovery_code is None):
            raise BadRequest("credential.passkey", "Send either a `passkey` or a `recoveryCode`.")
        if given.recovery_code is not None:
            return await self._recover(given.recovery_code, caller)
        if answered is None:
            raise AuthFailed("This request for a passkey has expired, or was answered already. Start again.")
        asked = msgspec.json.decode(answered.kept, type=Asked)
        passkey = given.passkey
        if passkey is None:
            raise AssertionError("one of the two is there")
        # The id of the challenge is as random and as short-lived as that of a sign-in has to be. So an answer that is
        # sent twice, because the first response was lost, is the same sign-in.
        sign_in_id = answered.challenge_id
        if asked.purpose == "sign_in":
            return await self._sign_in(asked, passkey, caller, sign_in_id)
        name = keyring.device_name(given.device_name)
        key = await trio.to_thread.run_sync(self._ceremonies.verify_new_key, passkey, asked.challenge)
        device = self._device(name, key, sign_in_id)
        if asked.purpose == "sign_up":
            return self._sign_up(asked, device, sign_in_id)
        return await self._add_device(asked, device, caller, sign_in_id)

    def _device(self, name: str, key: NewKey, sign_in_id: str) -> keyring.Device:
        return keyring.new_device(name, key.credential, key.public_key, key.counter, self._today(), sign_in_id)

    def _today(self) -> str:
        return self._clock().date().isoformat()

    def _sign_up(self, asked: Asked, device: keyring.Device, sign_in_id: str) -> Identity:
        code = asked.account_code or ""
        keys = stored.encode(Keyring(devices=(device,)))
        registration = Registration(value=keys, account_code=code)
        return Identity(subject=code, display_name=asked.display_name, registration=registration, sign_in_id=sign_in_id)

    async def _add_device(self, asked: Asked, device: keyring.Device, caller: Caller, sign_in_id: str) -> KnownUser:
        code = asked.account_code or ""
        if stored.account_code_of(caller) != code:
            raise AuthFailed("This request was made for another account. Start again.")
        user_id, _ = await stored.change(caller.accounts, code, lambda keys: keyring.add(keys, device))
        return KnownUser(user_id=user_id, sign_in_id=sign_in_id)

    async def _sign_in(self, asked: Asked, passkey: PublicKeyCredential, caller: Caller, sign_in_id: str) -> KnownUser:
        code = self._account_code(asked, passkey)
        found = await stored.read(caller.accounts, code)
        device = found and found[1].by_credential(passkey.id)
        if device is None:
            raise _unknown()
        counter = await trio.to_thread.run_sync(
            self._ceremonies.verify_assertion, passkey, device.public_key, asked.challenge
        )

        def use(keys: Keyring) -> Change:
            known = keys.by_credential(passkey.id)
            if known is None or known.public_key != device.public_key:  # it was removed meanwhile
                raise _unknown()
            return keyring.used(keys, known, counter, self._today(), sign_in_id)

        try:
            user_id, _ = await stored.change(caller.accounts, code, use)
        except keyring.CopiedKey:
            logger.warning(
                "the signature counter of the passkey %s has not grown: the sign-in was refused, because there may be "
                "a copy of the key",
                device.device_id,
            )
            raise
        return KnownUser(user_id=user_id, sign_in_id=sign_in_id)

    @staticmethod
    def _account_code(asked: Asked, passkey: PublicKeyCredential) -> str:
        """Return the account that a key names, which is the one that was asked for, if one was."""
        handle = passkey.response.user_handle
        named = None if handle is None else ceremonies.decoded(handle).decode("ascii", "replace")
        code = asked.account_code or named
        if code is None or not codes.is_account_code(code) or named not in (None, code):
            raise _unknown()
        return code

    async def _recover(self, typed: str, caller: Caller) -> KnownUser:
        try:
            code, secret = codes.parse(typed)
        except ValueError as error:
            raise BadRequest("credential.recoveryCode", f"This is not a recovery code: {error}.") from None
        wait = await self._limits().take(f"recovery {code}", RECOVERY_RATE, RECOVERY_BURST)
        if wait:
            raise RateLimited("Too many attempts with recovery codes of this account. Wait a moment.", wait)
        sign_in_id = str(uuid.uuid4())

        def use(keys: Keyring) -> Change:
            changed = keyring.recover(keys, secret, sign_in_id)
            if changed is None:
                raise _wrong_code()
            return changed

        if await stored.read(caller.accounts, code) is None:
            raise _wrong_code()
        user_id, _ = await stored.change(caller.accounts, code, use)
        return KnownUser(user_id=user_id, sign_in_id=sign_in_id)


def check_recent(caller: Caller) -> str:
    """Return the name of a caller who has proved lately who they are. Raises `CommandError`."""
    if caller.user is None or caller.sign_in_age is None:
        raise CommandError(ErrorCode.UNAUTHENTICATED, "Sign in first.")
    if caller.sign_in_age > RECENT_SECONDS:
        raise AuthFailed("Confirm with a passkey first: you have signed in more than ten minutes ago.")
    return caller.user.display_name


def _credentials(keys: Keyring) -> list[str]:
    return [device.credential for device in keys.devices]


def _unknown() -> AuthFailed:
    return AuthFailed("This passkey belongs to no account here, or was removed from it.")


def _wrong_code() -> AuthFailed:
    return AuthFailed("This recovery code is wrong, or was used already.")
