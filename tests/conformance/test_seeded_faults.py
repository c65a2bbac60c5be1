"""The transcripts find the mistakes that clients make: each is made on purpose, and a named transcript notices it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evanesce.conformance.player import play
from evanesce.conformance.transcript import shipped

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).with_name("reference_client.py")
TRANSCRIPTS = shipped()
FOUND_BY = {
    "dies_of_unknown": "unknown_events_and_fields",
    "doubles": "doubled_by_a_resume",
    "expires_after_removed": "removed_with_live_messages",
    "expires_twice": "expiry",
    "expires_unsent": "unsent",
    "first_of_frame": "several_events_in_a_frame",
    "forgets_credential": "token_expired_with_credential",
    "forgets_sends_of_closed": "closed_while_sending",
    "forgets_sends_of_left": "left_while_sending",
    "forgets_sends_of_refused": "refused_while_sending",
    "forgets_sends_of_removed": "removed_while_sending",
    "forgets_unacknowledged": "kill_before_sent",
    "forgets_unsent": "unsent_while_away",
    "guest_again": "token_kept_for_reconnects",
    "hurries": "server_overloaded",
    "ignores_gap": "gap",
    "ignores_reconnect_after": "close_4429_later",
    "ignores_retry_after": "send_rate_limited",
    "invites_again": "invite_until_admitted",
    "keeps_hint": "room_in_the_address",
    "keeps_old_ttl": "shorter_life_of_a_room",
    "keeps_old_cursor": "cursor_of_an_empty_resume",
    "local_clock": "server_clock_ahead",
    "never_asks_again": "hello_refused_for_now",
    "never_gives_up": "outcome_unknown",
    "never_refreshes": "token_refreshed",
    "new_id": "kill_before_sent",
    "no_heartbeat": "dead_connection",
    "null_is_zero": "missed_is_unknown",
    "reconnects_after_4403": "close_4403_forbidden",
    "refreshes_once": "refresh_refused_once",
    "rejoins_after_ban": "banned_while_away",
    "resumes_without_since": "kill_after_message",
    "seals_again": "encrypted_message_again",
    "sends_in_parallel": "sends_in_order",
    "sends_in_the_clear": "encrypted_room_without_a_key",
    "sends_too_soon": "send_before_joined",
    "shows_ciphertext": "encrypted_room",
    "shows_expired": "expired_on_arrival",
    "shows_unsent": "unsent_before_message",
    "small_frames": "largest_frame",
    "stays_after_removed": "removed",
    "trusts_first_clock": "clock_set_by_pong",
    "waits_the_same": "server_overloaded",
}


def test_every_fault_is_seeded() -> None:
    source = REFERENCE.read_text("utf-8")
    assert all(f'"{fault}"' in source for fault in FOUND_BY)


@pytest.mark.parametrize("fault", sorted(FOUND_BY))
async def test_a_seeded_fault_is_found(fault: str) -> None:
    outcome = await play(TRANSCRIPTS[FOUND_BY[fault]], [sys.executable, str(REFERENCE), "--fault", fault])
    assert outcome.failure is not None
    assert not any("Traceback" in line for line in outcome.failure.errors) or fault == "dies_of_unknown"
