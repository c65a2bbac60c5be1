"""Challenges for signing up and signing in: what the client receives, and what the server stores."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from evanesce.interfaces import Challenge
from evanesce.model import RegisteredAccount
from evanesce_plugins.worldid import account_code
from evanesce_plugins.worldid.encoding import FIELD
from evanesce_plugins.worldid.proof import SESSION_PREFIX
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.settings import WorldIdSettings

CHALLENGE_SECONDS = 300
"""The lifetime of a challenge: World's nodes accept a request for 30 minutes, a user with a phone needs one."""

Purpose = Literal["sign_up", "sign_in"]

_DECOY = b"evanesce worldid decoy session 1"


class KeptChallenge(msgspec.Struct, frozen=True, kw_only=True):
    """What the server stores of a challenge.

    For sign_up, `session_nonce` is the nonce of the new session's proof, and `nonce` that of the other one. For
    sign_in, `code` is the digest of the account code, and `session_id` the session to prove. `user_id` is None where
    the code names no account: no user has this session.
    """

    purpose: Purpose
    nonce: str
    signal: str
    session_nonce: str | None = None
    code: str | None = None
    user_id: str | None = None
    session_id: str | None = None


class Challenges:
    """Makes challenges that expire after `seconds`. `clock` returns seconds since 1970."""

    def __init__(
        self,
        settings: WorldIdSettings,
        signer: Signer,
        *,
        seconds: int = CHALLENGE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._seconds = seconds
        self._clock = clock
        # Derived from the only secret here that all servers of a deployer share. It is the last one of a list, because
        # a decoy that changes while the sessions of accounts do not would show that nobody has the code.
        self._decoy_key = hmac.digest(bytes.fromhex(settings.signing_keys[-1]), _DECOY, hashlib.sha512)

    def sign_up(self) -> Challenge:
        """Return a challenge for two proofs: one of a new session, and one of uniqueness, which is bound to it."""
        action = self._settings.action
        context, session_context = self._context(action), self._context(None)
        asked = KeptChallenge(
            purpose="sign_up",
            nonce=str(context["nonce"]),
            session_nonce=str(session_context["nonce"]),
            signal=_new_signal(),
        )
        fields = {
            "rpContext": context,
            "sessionContext": session_context,
            "action": action,
            "legacyProofs": self._settings.legacy_proofs,
        }
        return self._challenge(asked, fields)

    def sign_in(self, code: str, account: RegisteredAccount | None) -> Challenge:
        """Return a challenge to prove the session of an account; `account` is the one with this code.

        Where there is none, the challenge looks the same, but its session is derived from the code, and cannot be
        proved. Both cases do the same work.
        """
        decoy = self._decoy(code)
        context = self._context(None)
        asked = KeptChallenge(
            purpose="sign_in",
            nonce=str(context["nonce"]),
            signal=_new_signal(),
            code=account_code.digest(code),
            user_id=None if account is None else account.user_id,
            session_id=decoy if account is None else account.value,
        )
        return self._challenge(asked, {"rpContext": context, "sessionId": asked.session_id})

    def _context(self, action: str | None) -> dict[str, Any]:
        context = self._signer.context(
            self._settings.rp_id, now=int(self._clock()), seconds=self._seconds, action=action
        )
        fields: dict[str, Any] = msgspec.to_builtins(context)
        return fields

    def _challenge(self, asked: KeptChallenge, fields: dict[str, Any]) -> Challenge:
        common = {
            "appId": self._settings.app_id,
            "rpId": self._settings.rp_id,
            "environment": self._settings.environment,
            "signal": asked.signal,
        }
        return Challenge(common | fields, kept=msgspec.json.encode(asked), seconds=self._seconds)

    def _decoy(self, code: str) -> str:
        """Return a session that no user has: always the same one for a code, in the same form as World's.

        A session is a commitment, which is a number of the field and not 0, and a seed, whose first byte is 01.
        """
        mac = hmac.digest(self._decoy_key, code.encode(), hashlib.sha512)
        seed = hmac.digest(self._decoy_key, b"seed " + code.encode(), hashlib.sha256)
        commitment = 1 + int.from_bytes(mac, "big") % (FIELD - 1)
        return f"{SESSION_PREFIX}{commitment:064x}01{seed[1:].hex()}"


def _new_signal() -> str:
    return f"0x{secrets.token_hex(32)}"
