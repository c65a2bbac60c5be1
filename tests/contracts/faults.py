"""The faults that are planted in copies of our own plugins, and the test of a contract that has to find each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.copies import OUTBOX, PLUGINS, TRANSPORTS, Change
from tests.contracts.subjects import Guest, Sqlite, Subject, WebSocket, WorldId

WEBSOCKET = "websocket.py"
ACCOUNTS, ROOMS, RULES, SESSIONS = (f"sql/{name}.py" for name in ("accounts", "rooms", "room_rules", "session_log"))
GUEST, WORLD_ID, PROOF = "guest/__init__.py", "worldid/authenticator.py", "worldid/proof.py"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A fault in a copy, and the test that finds it, with the parameters that the test is run with."""

    subject: type[Subject]
    test: str
    changes: tuple[Change, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def package(self) -> str:
        """The package that is copied."""
        return TRANSPORTS if self.subject is WebSocket else PLUGINS


def transport(test: str, *change: str, **parameters: Any) -> Seeded:
    return Seeded(WebSocket, test, (Change(*change),), parameters)


def repository(test: str, *change: str, **parameters: Any) -> Seeded:
    return Seeded(Sqlite, test, (Change(*change),), parameters)


KEEPS_CHALLENGES_ITSELF = (
    Change(
        WORLD_ID,
        "            return self._challenges.sign_up()\n",
        "            self._last = self._challenges.sign_up()\n            return self._last\n",
    ),
    Change(
        WORLD_ID,
        '            raise AuthFailed("This request for a proof has expired, or was answered already. Start again.")\n',
        "            answered = Answered(given.challenge_id, self._last.kept)\n",
    ),
)

FAULTS: dict[str, Seeded] = {
    # Transports
    "doubles a frame": transport(
        "test_frames_arrive_once_and_in_their_order",
        OUTBOX,
        "wire = frame.wires.get(framing) or frame.wire(framing)",
        "wire = (frame.wires.get(framing) or frame.wire(framing)) * 2",
    ),
    "loses the order of what waits": transport(
        "test_what_waits_keeps_its_order_with_what_does_not",
        OUTBOX,
        "self._waiting.append(entry)",
        "self._waiting.appendleft(entry)",
    ),
    "loses a byte where the kernel takes a part": transport(
        "test_what_waits_keeps_its_order_with_what_does_not",
        OUTBOX,
        "self._set_rest(memoryview(wire)[sent:], expires_at)\n            self.waiting_bytes = len(wire) - sent",
        "self._set_rest(memoryview(wire)[sent + 1 :], expires_at)\n            self.waiting_bytes = len(wire) - sent",
    ),
    "ignores back-pressure": transport(
        "test_a_client_that_reads_nothing_is_refused_more_and_gets_all_that_was_accepted",
        OUTBOX,
        "return self._put(frame, wire, frame.expires_at, limit=self._limit)",
        "return self._put(frame, wire, frame.expires_at, limit=math.inf)",
    ),
    "queues twice what it may": transport(
        "test_a_client_that_reads_nothing_is_refused_more_and_gets_all_that_was_accepted",
        OUTBOX,
        "if self.waiting_bytes + cost > limit:\n                    return False",
        "if self.waiting_bytes + cost > 2 * limit:\n                    return False",
    ),
    "cannot frame the largest message": transport(
        "test_frames_arrive_unchanged_both_ways",
        WEBSOCKET,
        "if size <= _LARGEST_16_BITS:",
        "if size <= _LARGEST_16_BITS + 1:",
    ),
    "frames for each connection anew": transport(
        "test_connections_that_share_a_framing_share_its_bytes",
        WEBSOCKET,
        "        return WEBSOCKET\n",
        "        return WebSocketFraming()\n",
    ),
    "sends a message that has expired": transport(
        "test_a_message_that_has_expired_is_not_sent",
        OUTBOX,
        "if frame.expires_at <= (now := self._clock.current_time()):",
        "if frame.expires_at <= (now := self._clock.current_time()) - 60:",
    ),
    "sends late what waited": transport(
        "test_a_message_that_expires_while_it_waits_is_not_sent",
        OUTBOX,
        "if now < self._first_expires_at or self._waiting is None:",
        "if now < self._first_expires_at + 60 or self._waiting is None:",
    ),
    "closes with the wrong code": transport(
        "test_a_close_sends_what_waits_and_the_goodbye_and_the_code",
        WEBSOCKET,
        "CloseConnection(code=code, reason=reason)",
        "CloseConnection(code=1000, reason=reason)",
        code=4413,
    ),
    "says no goodbye": transport(
        "test_a_close_sends_what_waits_and_the_goodbye_and_the_code",
        WEBSOCKET,
        "closing if goodbye is None else goodbye.wire(WEBSOCKET) + closing",
        "closing",
        code=4413,
    ),
    "has no room for the goodbye": transport(
        "test_a_goodbye_is_sent_even_where_the_outbox_is_full",
        OUTBOX,
        "self._put(data, data, math.inf, limit=math.inf)",
        "self._put(data, data, math.inf, limit=self._limit)",
    ),
    # Repositories
    "takes each sign-in for the first": repository(
        "test_the_same_sign_in_twice_gives_one_account",
        ACCOUNTS,
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING userId'",
        "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING userId'",
    ),
    "looks for the worldId before it stores it": Seeded(
        Sqlite,
        "test_many_sign_ins_of_one_human_at_once_give_one_account",
        (
            Change(ACCOUNTS, "ON CONFLICT DO NOTHING RETURNING userId'", "RETURNING userId'"),
            Change(
                ACCOUNTS,
                "        if registration is not None:\n            kept",
                "        if await self.has_account(user.world_id):\n"
                '            batch[1] = Statement("SELECT 1 WHERE 0", ())\n'
                "        if registration is not None:\n            kept",
            ),
        ),
    ),
    "moves lastActive back": repository(
        "test_last_active_never_moves_back_at_a_sign_in",
        ACCOUNTS,
        """SET lastActive = max(lastActive, ?) WHERE worldId""",
        """SET lastActive = ? WHERE worldId""",
    ),
    "accepts a spent proof": repository(
        "test_a_proof_is_spent_once_by_one_attempt",
        ACCOUNTS,
        "AND userId = ? AND attempt = ?'",
        "AND userId = ? AND (attempt = ? OR true)'",
    ),
    "replaces a registration that has changed": repository(
        "test_of_many_who_replace_what_is_registered_at_once_one_succeeds",
        ACCOUNTS,
        "SET value = ? WHERE provider = ? AND userId = ? AND value = ?",
        "SET value = ? WHERE provider = ? AND userId = ? AND ? IS NOT NULL",
    ),
    "erases too little": repository(
        "test_what_was_registered_and_spent_goes_with_the_account",
        ACCOUNTS,
        "        Statement(_ERASE_PROOFS, (user_id,)),\n",
        "",
    ),
    "leaves the erased in bans": repository(
        "test_an_erased_account_leaves_its_places_taken_and_its_bans_without_it",
        ACCOUNTS,
        "        Statement(_ERASE_FROM_BANS, (user_id,)),\n",
        "",
    ),
    "counts closed rooms": repository(
        "test_a_creator_has_at_most_so_many_open_rooms",
        ROOMS,
        "WHERE createdBy = userId AND closedAt IS NULL) < ?",
        "WHERE createdBy = userId) < ?",
    ),
    "repeats a room on the next page": repository(
        "test_rooms_come_in_pages_newest_first",
        ROOMS,
        "(createdAt, roomId) < (?, ?)",
        "(createdAt, roomId) <= (?, ?)",
        count=10,
        sizes=[10, 10, 4],
    ),
    "changes options of an older version": repository(
        "test_options_are_replaced_only_as_of_the_version_of_the_database",
        ROOMS,
        "WHERE roomId = ? AND rulesVersion = ? AND closedAt IS NULL\n",
        "WHERE roomId = ? AND rulesVersion >= ? AND closedAt IS NULL\n",
    ),
    "takes a place of an invite twice": repository(
        "test_an_invite_admits_so_many_persons_each_once",
        RULES,
        "    WHERE inviteId = ? AND changes() = 1\n",
        "    WHERE inviteId = ?\n",
    ),
    "counts a change that is repeated": repository(
        "test_a_ban_is_stored_with_the_present_name_and_the_version_grows",
        RULES,
        "WHERE roomId = ? AND changes() = 1'",
        "WHERE roomId = ?'",
    ),
    "ends a session before it began": repository(
        "test_a_session_never_ends_before_it_began",
        SESSIONS,
        "leaveTime = max(joinTime, json_extract(value, '$[1]'))",
        "leaveTime = json_extract(value, '$[1]')",
    ),
    # Authenticators
    "accepts an expired challenge": Seeded(WorldId, "test_an_expired_challenge_is_refused", KEEPS_CHALLENGES_ITSELF),
    "accepts an answer twice": Seeded(WorldId, "test_a_challenge_is_answered_once", KEEPS_CHALLENGES_ITSELF),
    "does not compare the challenge": Seeded(
        WorldId,
        "test_an_answer_to_another_challenge_is_refused",
        (
            Change(PROOF, "if not _same(result.nonce, wanted.nonce):", "if False:"),
            Change(PROOF, "if not _same(signal_hash, encoding.signal_hash(wanted.signal)):", "if False:"),
        ),
    ),
    "takes a person for somebody new": Seeded(
        WorldId,
        "test_a_person_is_the_same_user_each_time_unless_a_guest",
        (Change(WORLD_ID, "Identity(subject=proof.nullifier,", "Identity(subject=proof.nullifier + asked.nonce[:8],"),),
    ),
    "repeats in a refusal what was sent": Seeded(
        WorldId,
        "test_no_refusal_repeats_what_was_sent",
        (Change(WORLD_ID, '"This request for a proof has expired,', 'f"{given.challenge_id} has expired,'),),
    ),
    "reports a provider that is down as a refusal": Seeded(
        WorldId,
        "test_while_the_provider_is_down_a_credential_is_not_used_up",
        (
            Change(
                WORLD_ID,
                "            await self._portal.verify(session, proof)\n",
                "            try:\n"
                "                await self._portal.verify(session, proof)\n"
                "            except Exception:\n"
                '                raise AuthFailed("Start again.") from None\n',
            ),
        ),
    ),
    "fails where a field is missing": Seeded(
        Guest,
        "test_what_a_client_sends_causes_no_fault",
        (
            Change(
                GUEST,
                "msgspec.convert(credential, GuestCredential)",
                'GuestCredential(display_name=credential["displayName"])',
            ),
        ),
    ),
    "takes two guests of one name for one": Seeded(
        Guest,
        "test_a_person_is_the_same_user_each_time_unless_a_guest",
        (Change(GUEST, "Identity(subject=str(uuid.uuid4()),", "Identity(subject=name,"),),
    ),
}
"""By what the faulty plugin does. `test` is the name of the contract's test that has to fail."""
