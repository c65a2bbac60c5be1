"""What World's nodes refuse, and what a person's proofs are: one for uniqueness, the same person in a session."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_plugins.worldid import encoding
from evanesce_plugins.worldid.rp_signature import Signer
from evanesce_plugins.worldid.simulator.control import ProveRequest, asked_of
from evanesce_plugins.worldid.simulator.world import Proven, Refused, RelyingParty, World
from tests.worldid.simulation import ACTION, APP_ID, KEY, RP_ID, Clock

MINUTE = 60.0
DAY = 24 * 60 * MINUTE


class Place:
    """A World with one RP, and an RP's way to ask in it."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.world = World(clock=self.clock, **options)
        self.party = RelyingParty(rp_id=RP_ID, app_id=APP_ID, signer=Signer(KEY).address)
        self.world.register(self.party)

    def wanted(self, purpose: str = "sign_up", *, key: str = KEY, seconds: int = 300, **changes: Any) -> ProveRequest:
        action = ACTION if purpose == "sign_up" else None
        now = int(self.clock.now + changes.pop("ahead", 0))
        context = Signer(key).context(
            changes.get("rp_id", RP_ID), now=now, seconds=seconds, action=changes.get("signed", action)
        )
        changes.pop("signed", None)
        fields: dict[str, Any] = {
            "person": "anybody",
            "purpose": purpose,
            "app_id": APP_ID,
            "rp_id": RP_ID,
            "environment": "staging",
            "signal": "a signal",
            "rp_context": context,
            "action": action,
        }
        return ProveRequest(**fields | changes)

    def prove(self, person: str, purpose: str = "sign_up", **changes: Any) -> Proven:
        return self.world.prove(person, asked_of(self.wanted(purpose, **changes)))

    def refusal(self, person: str = "Ana", purpose: str = "sign_up", **changes: Any) -> str:
        with pytest.raises(Refused) as refused:
            self.prove(person, purpose, **changes)
        return refused.value.code


@pytest.fixture
def place() -> Place:
    return Place()


# The nodes


def test_a_request_is_taken_once(place: Place) -> None:
    asked = asked_of(place.wanted())
    place.world.prove("Ana", asked)
    with pytest.raises(Refused, match="duplicate_nonce"):
        place.world.prove("Ben", asked)
    longer_written = msgspec.structs.replace(asked.context, nonce="0x" + asked.context.nonce[2:].upper())
    changed = asked_of(place.wanted(rp_context=longer_written))
    with pytest.raises(Refused, match="duplicate_nonce"):
        place.world.prove("Ben", changed)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": "cd" * 32}, "invalid_rp_signature"),
        ({"signed": "another-action"}, "invalid_rp_signature"),
        ({"signed": None}, "invalid_rp_signature"),
        ({"rp_id": "rp_00000000000000ff"}, "unknown_rp"),
        ({"app_id": "app_staging_another"}, "malformed_request"),
        ({"environment": "sandbox"}, "invalid_network"),
        ({"ahead": -5 * MINUTE - 1}, "timestamp_too_old"),
        ({"ahead": 5 * MINUTE + 1}, "timestamp_too_far_in_future"),
        ({"ahead": -200, "seconds": 100}, "rp_signature_expired"),
        ({"seconds": 30 * 60 + 1}, "invalid_timestamp"),
        ({"seconds": 0}, "invalid_timestamp"),
    ],
)
def test_what_the_nodes_refuse(place: Place, changes: dict[str, Any], code: str) -> None:
    assert place.refusal(**changes) == code


@pytest.mark.parametrize("changes", [{"ahead": -5 * MINUTE}, {"ahead": 5 * MINUTE}, {"seconds": 30 * 60}])
def test_times_at_the_border_are_taken(place: Place, changes: dict[str, Any]) -> None:
    assert place.prove("Ana", **changes).session is None


def test_a_session_is_signed_without_an_action(place: Place) -> None:
    assert place.refusal(purpose="create_session", signed=ACTION) == "invalid_rp_signature"
    assert place.prove("Ana", "create_session").session is not None


@pytest.mark.parametrize("status", ["pending", "failed", "deactivated"])
def test_an_rp_is_active_in_each_environment_by_itself(place: Place, status: str) -> None:
    place.world.register(
        RelyingParty(
            rp_id=RP_ID,
            app_id=APP_ID,
            signer=Signer(KEY).address.upper().replace("0X", "0x"),
            statuses={"production": status, "staging": "registered"},
        )
    )
    assert place.refusal(environment="production") == "inactive_rp"
    assert place.prove("Ana", environment="staging").statement.environment == "staging"


def test_a_refused_request_uses_up_nothing(place: Place) -> None:
    asked = asked_of(place.wanted(ahead=6 * MINUTE))
    with pytest.raises(Refused, match="timestamp_too_far_in_future"):
        place.world.prove("Ana", asked)
    place.clock.now += 2 * MINUTE
    assert place.world.prove("Ana", asked).statement.nonce == encoding.number(asked.context.nonce)


# Uniqueness


def nullifier(place: Place, person: str, **changes: Any) -> int:
    return place.prove(person, **changes).statement.nullifier


def test_a_nullifier_is_made_once_in_a_year(place: Place) -> None:
    first = nullifier(place, "Ana")
    place.clock.now += 10 * MINUTE
    assert nullifier(place, "Ana") == first
    place.clock.now += 1
    assert place.refusal("Ana") == "nullifier_replayed"
    place.clock.now += 364 * DAY
    assert place.refusal("Ana") == "nullifier_replayed"
    place.clock.now += DAY
    assert nullifier(place, "Ana") == first
    place.clock.now += 11 * MINUTE
    assert place.refusal("Ana") == "nullifier_replayed"


def test_a_nullifier_is_of_person_app_action_and_environment(place: Place) -> None:
    other = RelyingParty(rp_id="rp_00000000000000ff", app_id=APP_ID, signer=Signer(KEY).address)
    place.world.register(other)
    found = {
        nullifier(place, "Ana"),
        nullifier(place, "Ben"),
        nullifier(place, "Ana", action="vote", signed="vote"),
        nullifier(place, "Ana", environment="production"),
        nullifier(place, "Ana", rp_id="rp_00000000000000ff"),
        nullifier(Place(seed=b"another world"), "Ana"),
    }
    assert len(found) == 6
    assert nullifier(Place(), "Ana") in found


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_is_a_person(name: str) -> None:
    found = nullifier(Place(), name)
    assert 0 < found < encoding.FIELD
    assert found == nullifier(Place(), name)
    assert found != nullifier(Place(), name + "'s friend")


# Sessions


def test_a_session_is_proved_again_by_the_same_person(place: Place) -> None:
    made = place.prove("Ana", "create_session")
    again = place.prove("Ana", "sign_in", session_id=str(made.session))
    assert again.session == made.session
    assert again.statement.session == made.statement.session != 0
    # Each proof of a session has a nullifier and an action of its own, which begins with 02 as in World's protocol.
    assert again.statement.nullifier != made.statement.nullifier
    assert again.statement.action >> 248 == made.statement.action >> 248 == 2
    assert again.statement.action != made.statement.action


def test_a_session_outlives_the_simulator(place: Place) -> None:
    made = place.prove("Ana", "create_session")
    assert Place().prove("Ana", "sign_in", session_id=str(made.session)).session == made.session


def test_a_session_is_no_other_persons(place: Place) -> None:
    made = place.prove("Ana", "create_session")
    assert re.fullmatch(r"session_[0-9a-f]{64}01[0-9a-f]{62}", str(made.session))
    assert place.refusal("Ben", "sign_in", session_id=str(made.session)) == "generic_error"
    assert place.refusal("Ana", "sign_in", session_id=str(made.session), environment="production") == "generic_error"
    assert place.prove("Ana", "create_session").session != made.session


# 3.0


def test_legacy_proofs_repeat_with_another_nullifier(place: Place) -> None:
    asked = asked_of(place.wanted(legacy_proofs=True))
    first = place.world.prove_legacy("Ana", asked)
    place.clock.now += DAY
    assert place.world.prove_legacy("Ana", asked) == first
    assert first.statement.nullifier != Place().prove("Ana").statement.nullifier
    assert first.statement.nullifier != place.world.prove_legacy("Ben", asked).statement.nullifier


@pytest.mark.parametrize(
    ("purpose", "changes", "code"),
    [
        ("sign_up", {}, "world_id_4_not_available"),
        ("create_session", {"legacy_proofs": True}, "world_id_4_not_available"),
        ("sign_up", {"legacy_proofs": True, "app_id": "app_another"}, "malformed_request"),
        ("sign_up", {"legacy_proofs": True, "rp_id": "rp_00000000000000ff"}, "unknown_rp"),
    ],
)
def test_legacy_proofs_are_for_who_asks_for_them(
    place: Place, purpose: str, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused, match=code):
        place.world.prove_legacy("Ana", asked_of(place.wanted(purpose, **changes)))
