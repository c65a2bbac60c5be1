"""The keyring of an account: its devices and its recovery codes, as the database has them, and how they change.

It is one value, which is read, changed here, and stored if nobody has changed it meanwhile. So the rules hold for all
servers: a signature counter only grows, the last way to sign in stays, a recovery code works once.
"""

from __future__ import annotations

import secrets

import msgspec
from msgspec.structs import replace

from evanesce.confidential import Confidential
from evanesce.errors import AuthFailed, BadRequest, CommandError, ErrorCode
from evanesce_plugins.passkey import codes

MOST_DEVICES = 10
"""The most devices of an account."""

MOST_SIGN_INS = 20
"""The most sign-ins of a device, and by recovery codes, that last at the same time. One more ends the oldest."""

RECOVERY_CODES = 10
"""How many recovery codes are made at once."""


class CopiedKey(AuthFailed):
    """The signature counter of a key has not grown: there may be a copy of it (WebAuthn, section 6.1.1)."""


class Device(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """A device with a key for the account. `added` and `used` are days; `sign_ins` are the ids of its sign-ins.

    `credential` is the id of the key, and `public_key` the key in COSE's form, both in base64url.
    """

    device_id: str
    name: str
    credential: str
    public_key: str
    counter: int
    added: str
    used: str
    sign_ins: tuple[str, ...] = ()


class Recovery(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The hashes of the recovery codes that were not used yet, and the ids of the sign-ins by recovery codes."""

    key: str = ""
    hashes: tuple[str, ...] = ()
    sign_ins: tuple[str, ...] = ()


class Keyring(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The devices and the recovery codes of an account."""

    devices: tuple[Device, ...]
    recovery: Recovery = Recovery()

    def by_credential(self, credential: str) -> Device | None:
        """Return the device whose key has this id."""
        return next((device for device in self.devices if device.credential == credential), None)

    def by_id(self, device_id: str) -> Device | None:
        """Return the device with this id."""
        return next((device for device in self.devices if device.device_id == device_id), None)


class Change(Confidential, msgspec.Struct, frozen=True):
    """A keyring after a change, and the sign-ins that have to end before it is stored."""

    keyring: Keyring
    ended: tuple[str, ...] = ()


def new_device(name: str, credential: str, public_key: str, counter: int, today: str, sign_in_id: str) -> Device:
    """Return a new device, with the sign-in by which it was added."""
    return Device(
        device_id=secrets.token_hex(8),
        name=name,
        credential=credential,
        public_key=public_key,
        counter=counter,
        added=today,
        used=today,
        sign_ins=(sign_in_id,),
    )


def add(keyring: Keyring, device: Device) -> Change:
    """Add a device. Raises `CommandError` for a key that is there already, and for one device too many.

    Adding the same one by the same sign-in again changes nothing: the first answer may have been lost.
    """
    known = keyring.by_credential(device.credential)
    if known is not None:
        if known.sign_ins[-1:] == device.sign_ins and known.public_key == device.public_key:
            return Change(keyring)
        raise CommandError(ErrorCode.CONFLICT, "This device has a passkey of this account already.")
    if len(keyring.devices) >= MOST_DEVICES:
        raise full()
    return Change(replace(keyring, devices=(*keyring.devices, device)))


def full() -> CommandError:
    """Return the refusal of one device too many."""
    return CommandError(ErrorCode.CONFLICT, f"An account has at most {MOST_DEVICES} devices. Remove one first.")


def used(keyring: Keyring, device: Device, counter: int, today: str, sign_in_id: str) -> Change:
    """Store a sign-in by a device. Raises `CopiedKey` where the signature counter has not grown.

    Authenticators without a counter always send 0. The same sign-in again changes nothing.
    """
    if sign_in_id in device.sign_ins:
        return Change(keyring)
    if (counter or device.counter) and counter <= device.counter:
        raise CopiedKey("This passkey may have been copied. Sign in with another device, and remove this one.")
    sign_ins = (*device.sign_ins, sign_in_id)
    changed = replace(device, counter=counter, used=today, sign_ins=sign_ins[-MOST_SIGN_INS:])
    devices = tuple(changed if one is device else one for one in keyring.devices)
    return Change(replace(keyring, devices=devices), sign_ins[:-MOST_SIGN_INS])


def remove(keyring: Keyring, device_id: str) -> Change:
    """Remove a device, and end its sign-ins. Raises `CommandError` where no way to sign in would be left.

    Removing one that is not there changes nothing.
    """
    device = keyring.by_id(device_id)
    if device is None:
        return Change(keyring)
    devices = tuple(one for one in keyring.devices if one is not device)
    if not devices and not keyring.recovery.hashes:
        message = "This is the only way to sign in to this account. Add another device or make recovery codes first."
        raise CommandError(ErrorCode.CONFLICT, message)
    return Change(replace(keyring, devices=devices), device.sign_ins)


def recover(keyring: Keyring, secret: str, sign_in_id: str) -> Change | None:
    """Use up a recovery code; None where the account has no such code."""
    recovery = keyring.recovery
    if not recovery.key:
        return None
    left = tuple(stored for stored in recovery.hashes if not codes.matches(secret, recovery.key, stored))
    if len(left) == len(recovery.hashes):
        return None
    sign_ins = (*recovery.sign_ins, sign_in_id)
    changed = replace(recovery, hashes=left, sign_ins=sign_ins[-MOST_SIGN_INS:])
    return Change(replace(keyring, recovery=changed), sign_ins[:-MOST_SIGN_INS])


def new_codes(keyring: Keyring, secrets_: tuple[str, ...], current: str | None) -> Change:
    """Replace all recovery codes, and end the sign-ins by earlier ones, but for the `current` sign-in."""
    key = codes.new_key()
    kept = tuple(one for one in keyring.recovery.sign_ins if one == current)
    ended = tuple(one for one in keyring.recovery.sign_ins if one != current)
    hashes = tuple(codes.hashed(secret, key) for secret in secrets_)
    return Change(replace(keyring, recovery=Recovery(key=key, hashes=hashes, sign_ins=kept)), ended)


def device_name(name: str | None) -> str:
    """Return the name of a new device: what a client has sent, or a name for one without a name."""
    if name is None:
        return "Passkey"
    if not (text := " ".join(name.split())) or len(text) > 64 or not text.isprintable():
        raise BadRequest("credential.deviceName", "The name of a device has 1 to 64 printable characters.")
    return text
