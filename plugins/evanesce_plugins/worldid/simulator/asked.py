"""What a page asks of a person: the request for one proof, as the phone and the nodes look at it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from evanesce_plugins.worldid.rp_signature import RpContext

_SESSION = re.compile(r"session_([0-9a-f]{64})(01[0-9a-f]{62})")


class Kind(enum.Enum):
    """What is to be proved: that somebody is new to an action, or the same person again."""

    UNIQUENESS = enum.auto()
    CREATE_SESSION = enum.auto()
    PROVE_SESSION = enum.auto()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a proof of the credential proof_of_human.

    `action` is None but for `Kind.UNIQUENESS`, `session` but for `Kind.PROVE_SESSION`. `signal_hash` is 0 where there
    is no signal; `legacy_signal_hash` is what a proof of World ID 3.0 would have in its place.
    """

    kind: Kind
    app_id: str
    environment: str
    context: RpContext
    action: str | None
    session: SessionId | None
    signal_hash: int
    legacy_signal_hash: int
    expires_at_min: int
    legacy_allowed: bool


@dataclass(frozen=True, slots=True)
class SessionId:
    """A World ID session: `commitment` is a person's for `seed`, whose first byte is 01."""

    commitment: int
    seed: int

    @classmethod
    def parse(cls, text: str) -> SessionId:
        """Read `session_` and 128 digits. Raises `ValueError`."""
        parts = _SESSION.fullmatch(text)
        if parts is None:
            raise ValueError("this is no session: session_ and 128 hexadecimal digits, of which the 65th is 0, then 1")
        return cls(int(parts[1], 16), int(parts[2], 16))

    def __str__(self) -> str:
        return f"session_{self.commitment:064x}{self.seed:064x}"
