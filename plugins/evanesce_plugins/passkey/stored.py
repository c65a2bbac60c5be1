"""The keyring of an account in the database: it is read, changed, and stored if it is still what was read."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce.interfaces import Accounts, Caller
from evanesce_plugins.passkey.keyring import Change, Keyring

PROVIDER = "passkey"

ATTEMPTS = 10
"""How often a change is tried while other requests change the same keyring."""

_decoder = msgspec.json.Decoder(Keyring)


def encode(keyring: Keyring) -> str:
    """Return a keyring as it is registered with an account."""
    return msgspec.json.encode(keyring).decode()


def account_code_of(caller: Caller) -> str | None:
    """Return the account code of who has signed in; None for nobody, and for who signs in by another provider."""
    if caller.user is None:
        return None
    provider, _, subject = caller.user.world_id.partition(":")
    return subject if provider == PROVIDER else None


async def read(accounts: Accounts, account_code: str) -> tuple[str, Keyring] | None:
    """Return the id of the user with this code, and the keyring; None where there is none."""
    found = await accounts.find(account_code)
    return None if found is None else (found.user_id, _decoder.decode(found.value))


async def change(accounts: Accounts, account_code: str, decide: Callable[[Keyring], Change]) -> tuple[str, Keyring]:
    """Store what `decide` makes of the keyring of an account; return the id of the user, and the new keyring.

    `decide` is called again if another request was faster. Raises `AuthFailed` where the account is gone,
    `AuthUnavailable` where too many requests change it, and what `decide` raises.
    """
    for _ in range(ATTEMPTS):
        found = await accounts.find(account_code)
        if found is None:
            raise AuthFailed("There is no such account any more.")
        changed = decide(_decoder.decode(found.value))
        value = encode(changed.keyring)
        if value == found.value:
            return found.user_id, changed.keyring
        # Before it is stored: if this fails, the device is still there, and can be removed again.
        for sign_in_id in changed.ended:
            await accounts.end_sign_in(sign_in_id)
        if await accounts.change(found.user_id, value, found.value):
            return found.user_id, changed.keyring
    raise AuthUnavailable
