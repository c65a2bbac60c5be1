"""All that Evanesce is to withstand: each property with its bound and the checks that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.withstand.checks import Check, PytestCheck, ScriptCheck


@dataclass(frozen=True)
class Row:
    """A property, its bound in words, and the checks that show together that it holds; none: nothing is claimed."""

    number: int
    property: str
    bound: str
    how: Sequence[Check]


CONTENT = "tests/e2e/test_what_is_kept.py"
CORE = "tests/core"
E2E = "tests/e2e"
TRANSPORTS = "tests/transports"
STORE = f"{CORE}/store"
FAULTS = f"{STORE}/test_redis_faults.py"
FUZZED = {"EVANESCE_FUZZ": "10000"}

ROWS: Sequence[Row] = (
    Row(
        1,
        "RFC 6455: Autobahn's fuzzing client, all cases but 9, 12 and 13, on both transports",
        "0 failed, 0 unclean closes that should have had a code",
        [ScriptCheck("tests.conformance.autobahn")],
    ),
    Row(
        2,
        "malformed frames: 10,000 seeded streams to each transport",
        "0 crashes; each violation 1002, 1007 or 1009; memory +< 1 MB",
        [
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_fuzz.py::test_frames",
                    f"{TRANSPORTS}/test_websocket.py::test_violations",
                    f"{TRANSPORTS}/test_message_sizes.py",
                ],
                FUZZED,
            )
        ],
    ),
    Row(
        3,
        "handshake fuzz: all that ended other servers (C1 to C6), and 10,000 malformed ones to each transport",
        "0 exits; 4xx or closed within 5 s",
        [
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_fuzz.py::test_handshakes",
                    f"{TRANSPORTS}/test_fuzz.py::test_nothing_is_left",
                    f"{TRANSPORTS}/test_handshake.py",
                    f"{TRANSPORTS}/test_websocket.py::test_junk_and_half_close",
                    f"{TRANSPORTS}/test_websocket.py::test_a_ping_during_our_close",
                    f"{TRANSPORTS}/test_websocket.py::test_a_handler_that_raises",
                    f"{TRANSPORTS}/test_websocket.py::test_a_client_that_leaves_while_a_handler_writes",
                    f"{E2E}/test_bad_input.py",
                ],
                FUZZED,
            )
        ],
    ),
    Row(
        4,
        "isolation: exceptions in a handler, a plugin's hook, a room, a reader",
        "1011 or the fitting error; all others unaffected; no traceback text sent",
        [
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_websocket.py::test_a_handler_that_raises",
                    f"{TRANSPORTS}/test_trio_websocket_faults.py",
                    f"{TRANSPORTS}/test_quart_api.py::test_a_fault_shows_nothing_of_itself",
                    f"{E2E}/test_bad_input.py::test_a_plugin_that_raises",
                    f"{CORE}/plugins/test_faults_everywhere.py::test_what_is_raised_stays_inside",
                    f"{CORE}/rooms/test_room_faults.py",
                    f"{CORE}/sessions/test_session.py::test_a_fault_in_a_command_is_its_own",
                    f"{CORE}/sessions/test_session.py::test_a_fault_in_a_connection_ends_it_alone",
                    f"{CORE}/sessions/test_connection_faults.py",
                ]
            )
        ],
    ),
    Row(
        5,
        "sizes: a message of 200 MB, compressed data, headers of 20 kB, endless headers and bodies",
        "closed within 1 s (endless: 6 s); memory +< 2 MB",
        [
            ScriptCheck("tests.chaos.sizes"),
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_websocket.py::test_an_endless_message_is_cut_and_its_code_arrives",
                    f"{TRANSPORTS}/test_request_heads.py",
                    f"{TRANSPORTS}/test_quart_requests.py",
                    f"{TRANSPORTS}/test_bytebudget.py",
                    f"{E2E}/test_bad_input.py::test_too_large",
                ]
            ),
        ],
    ),
    Row(
        6,
        "protocol model: random commands of several clients against a model, 2,000 runs",
        "order, acknowledged ⇒ stored, once, `missed` exact: 0 breaks",
        [ScriptCheck("tests.fuzz.__main__")],
    ),
    Row(
        7,
        "simulation: 24 hours of 200 clients in virtual time, with seeded faults",
        "0 leaked tasks, 0 broken promises, under 3 minutes",
        [ScriptCheck("tests.simulation.__main__")],
    ),
    Row(
        8,
        "Redis kill -9 for 10 s under load; Sentinel and a cluster fail over five times each under load",
        "an error within 2.5 s while down, never a false `sent`; every acknowledged message reached every member, or "
        "that member got `gap` or `missed: null`; 0 twice; serving within 2 s of its return",
        [
            ScriptCheck("tests.chaos.outages", ["killed", "sentinel", "cluster"]),
            PytestCheck(
                [
                    f"{FAULTS}::test_killed_under_load_it_acknowledges_nothing_false",
                    f"{E2E}/test_faults.py::test_a_killed_valkey_comes_back_under_a_live_conversation",
                    f"{STORE}/test_sentinel.py::test_the_primary_is_followed",
                    f"{STORE}/test_cluster.py::test_a_lost_primary_is_followed_by_its_replica",
                    f"{STORE}/test_cluster.py::test_what_the_replica_had_not_heard_of_is_told",
                    f"{E2E}/test_redis_cluster.py",
                ]
            ),
        ],
    ),
    Row(
        9,
        "Redis SIGSTOP for 10 s under load",
        "no call hangs over 2.5 s; no false acknowledgement; nothing lost or doubled afterwards",
        [
            ScriptCheck("tests.chaos.outages", ["stopped"]),
            PytestCheck(
                [
                    f"{FAULTS}::test_stopped_under_load_nothing_is_lost_or_doubled",
                    f"{E2E}/test_faults.py::test_a_stopped_valkey_is_an_error_and_no_hang",
                    f"{STORE}/test_deadlines.py",
                ]
            ),
        ],
    ),
    Row(
        10,
        "sqld SIGSTOP, SIGKILL during sign-ins and writes; SQLite locked and killed",
        "chat's p99 changes < 20 %; sign-in answers `persistence_unavailable` within 3 s; 0 rows lost or half-written",
        [
            PytestCheck(
                [
                    f"{E2E}/test_turso.py",
                    f"{E2E}/test_faults.py::test_a_locked_database_leaves_the_rooms_alone",
                    "tests/plugins/sqlite/test_sqlite_processes.py",
                    f"{CORE}/test_writebehind.py",
                ]
            )
        ],
    ),
    Row(
        11,
        "server kill -9: one of two, 500 clients",
        "the other serves them within 2 s (p99); all resume with a true `missed`",
        [
            ScriptCheck("tests.chaos.crowd", ["killed"]),
            PytestCheck([f"{E2E}/test_many_servers.py", f"{E2E}/test_workers.py", f"{E2E}/test_presence.py"]),
        ],
    ),
    Row(
        12,
        "SIGTERM under load: 500 clients, 5 of them stalled",
        "every live one gets `goodbye` and 1001; exit within the drain time + 1 s; nothing accepted is lost",
        [
            ScriptCheck("tests.chaos.crowd", ["terminated"]),
            PytestCheck(
                [
                    f"{E2E}/test_faults.py::test_a_server_that_goes_away_says_so",
                    f"{E2E}/test_faults.py::test_leaving_in_the_middle_of_it",
                    f"{CORE}/sessions/test_session.py::test_draining_sends_everyone_away",
                    f"{CORE}/sessions/test_session.py::test_what_was_accepted_is_answered_before_the_server_goes",
                    f"{CORE}/lifecycle/test_shutdown.py",
                ]
            ),
        ],
    ),
    Row(
        13,
        "slow reader: 20 that never read",
        "cut with 4413 within 5 s of the bound, at most 1 MiB each; the others' p99 < 20 % worse",
        [
            PytestCheck(
                [
                    f"{E2E}/test_fast_readers.py",
                    f"{CORE}/rooms/test_falling_behind.py",
                    f"{CORE}/sessions/test_slow_reader.py",
                    f"{CORE}/delivery/test_outbox.py",
                ]
            ),
            ScriptCheck("tests.withstand.attacks", ["never read"]),
        ],
    ),
    Row(
        14,
        "half-open: clients that are stopped, or gone without a word",
        "gone within two heartbeats",
        [
            PytestCheck(
                [
                    f"{CORE}/sessions/test_session.py::test_pings_find_a_client_that_is_gone_within_two_heartbeats",
                    f"{E2E}/test_bad_input.py::test_silence",
                ]
            )
        ],
    ),
    Row(
        15,
        "slowloris: 2,000 partial and rejected handshakes to each transport",
        "all closed within 6 s; tasks and descriptors back to the baseline",
        [
            ScriptCheck("tests.chaos.slowloris"),
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_request_heads.py::test_partial_refused_and_dropped_clients_leave_no_task_behind",
                    f"{TRANSPORTS}/test_request_heads.py::test_a_head_that_never_ends_is_ended",
                    f"{TRANSPORTS}/test_handshake.py::test_a_rejected_client_that_stays_is_let_go",
                ]
            ),
        ],
    ),
    Row(
        16,
        "idle cost: 5,000 connections",
        "KiB each, per transport; tasks back to the baseline after they close",
        [ScriptCheck("tests.chaos.idle")],
    ),
    Row(
        17,
        "memory flat over 1 million messages",
        "drift < 2 % over the last 80 %",
        [ScriptCheck("tests.chaos.memory_flat")],
    ),
    Row(
        18,
        "nothing left, stores: Redis keys, files, logs, database, before the TTL and at TTL + 1 s",
        "0 outside the message's own key, 0 after",
        [
            PytestCheck(
                [
                    f"{CONTENT}",
                    f"{STORE}/test_redis_keys.py",
                    f"{STORE}/test_expiry.py::test_every_kind_of_key_is_gone_at_its_end",
                    f"{E2E}/test_process_limits.py",
                    "tests/plugins/test_erased_from_files.py",
                ]
            )
        ],
    ),
    Row(
        19,
        "nothing left, memory: copies in the memory of Redis and of the server",
        "counted over time and documented, with what shortens it",
        [ScriptCheck("tests.chaos.traces")],
    ),
    Row(
        20,
        "rate limit: ten times the rate, over two servers",
        "accepted ≤ limit + one burst per person; the others' p99 < 20 % worse",
        [
            ScriptCheck("tests.withstand.attacks", ["messages"]),
            PytestCheck(
                [
                    f"{E2E}/test_limits.py::test_ten_times_the_rate_over_two_servers",
                    f"{CORE}/limits/test_distributed.py",
                    f"{CORE}/limits/test_token_bucket.py",
                ]
            ),
        ],
    ),
    Row(
        21,
        "tokens: 1,000 replayed, expired, tampered, other `alg`, other audience",
        "0 let in; `forget_me` and expiry close live connections within 1 s",
        [
            PytestCheck(
                [
                    f"{CORE}/accounts/test_tokens.py",
                    f"{CORE}/sessions/test_session.py::test_a_token_that_runs_out_ends_the_connection_within_a_second",
                    f"{CORE}/sessions/test_session.py::test_forget_me_erases_and_ends_everywhere",
                    f"{CORE}/sessions/test_session.py::test_sign_out_makes_all_tokens_of_the_sign_in_worthless",
                    f"{E2E}/test_bad_input.py::test_a_worthless_token",
                ]
            )
        ],
    ),
    Row(
        22,
        "origins: 30 variants: suffix, prefix, null, absent, port, case",
        "0 let in outside the policy",
        [
            PytestCheck(
                [
                    f"{CORE}/sessions/test_hosts.py::test_origins_are_as_browsers_write_them",
                    f"{CORE}/sessions/test_session.py::test_origins",
                    f"{TRANSPORTS}/test_quart_api.py::test_other_origins",
                    f"{TRANSPORTS}/test_handshake.py::test_handshakes",
                ]
            )
        ],
    ),
    Row(
        23,
        "logs: CR, LF, ESC, secrets, content in every field",
        "one line per event, 0 control bytes, 0 secrets, 0 content",
        [
            PytestCheck(
                [
                    f"{CORE}/logs/test_logs.py",
                    f"{CONTENT}::test_content_is_in_no_file",
                    f"{E2E}/test_worldid.py::test_nothing_of_a_proof_or_a_key_is_in_the_log",
                    f"{STORE}/test_redis_keys.py::test_a_wrong_password_is_told_and_never_repeated",
                    f"{CORE}/config/test_secret.py",
                    f"{CORE}/test_hints.py",
                ]
            )
        ],
    ),
    Row(
        24,
        "cancellation at every await of the store and the repository",
        "0 answers to the wrong caller, 0 poisoned connections reused",
        [PytestCheck(["tests/core/store/test_cancellation.py", "tests/plugins/test_cancellation.py"])],
    ),
    Row(
        25,
        "floods: fragments, pings, tiny messages",
        "the others' p99 ≤ 25 ms",
        [
            ScriptCheck("tests.withstand.attacks", ["JSON pings", "WebSocket pings", "fragments"]),
            PytestCheck([f"{TRANSPORTS}/test_pacing.py"]),
        ],
    ),
    Row(
        26,
        "hostile shapes: 8 to 64 KiB to every parser of outside bytes",
        "time linear in size, < 10 ms each",
        [PytestCheck(["tests/hostile"]), ScriptCheck("tests.withstand.attacks", ["a frame that freezes"])],
    ),
    Row(
        27,
        "strangers: 20 that never read, 100 that flood before `hello`, 2,000 open bodies, 5,000 silent sockets",
        "256 KiB each; others' p99 ≤ 25 ms; 32 MiB in all; closed by 12 s",
        [
            ScriptCheck("tests.withstand.attacks", ["never read", "open bodies", "silent sockets"]),
            PytestCheck(
                [
                    f"{E2E}/test_strangers.py",
                    f"{E2E}/test_edge.py",
                    f"{E2E}/test_process_limits.py::test_sockets_that_say_no_hello_are_closed_by_12_seconds",
                    f"{TRANSPORTS}/test_strangers.py",
                    f"{CORE}/sessions/test_strangers.py",
                ]
            ),
        ],
    ),
    Row(
        28,
        "revocation: sign-out, erasure, closing and rename with Redis, or one server's link, away; notices dropped, "
        "late, out of order; a slow database",
        "end state right 2 s after the return, 65 s if unnoticed",
        [
            PytestCheck(
                [
                    f"{E2E}/test_revocation.py",
                    f"{CORE}/accounts/test_control.py",
                    f"{CORE}/accounts/test_cache.py",
                    f"{CORE}/maintenance/test_reconciliation.py",
                    f"{STORE}/test_control_bus_contract.py",
                ]
            )
        ],
    ),
    Row(
        29,
        "expiry lag: DBSIZE, beside 100,000 keys, under load, in a cluster, after kill -9, on each version of Redis, "
        "with replicas and through failovers",
        "0 at `expiresAt` + 0.25 s; never before it; 1 s after a failover",
        [PytestCheck([f"{STORE}/test_expiry.py", f"{STORE}/test_lag.py"]), ScriptCheck("tests.chaos.expiry_versions")],
    ),
    Row(
        30,
        "Redis pauses for 0.5 to 2 s under load, is full, read-only, deaf one way",
        "nobody who reads is cut; `readyz` tells; one log line",
        [
            PytestCheck(
                [
                    f"{FAULTS}::test_a_full_redis_is_told",
                    f"{FAULTS}::test_a_replica_is_told",
                    f"{STORE}/test_subscriber_outage.py",
                    f"{E2E}/test_readiness.py",
                    f"{E2E}/test_fast_readers.py",
                    "tests/chaos/test_attack_impact.py::test_a_pause_of_redis_is_measured",
                ]
            )
        ],
    ),
    Row(
        31,
        "clocks step: server, store and client, by seconds, an hour, days, both ways",
        "nobody refused beyond a bucket's need; no row ends before it began",
        [
            PytestCheck(
                [
                    f"{STORE}/test_offset_clocks.py",
                    f"{STORE}/test_clock_steps.py",
                    f"{STORE}/test_clock.py",
                    f"{E2E}/test_clocks.py",
                ]
            )
        ],
    ),
    Row(
        32,
        "plugins: every kind of fault, also no `Exception`, in every hook, at import, blocking, shielded, hanging",
        "the server lives; plugin named; no content in the log",
        [PytestCheck([f"{CORE}/plugins", f"{E2E}/test_faulty_plugins.py"])],
    ),
    Row(
        33,
        "borders: headers, proxies' forms, hosts, origins (IDN), paths, HTTP versions",
        "lawful accepted, hostile refused, told in words",
        [
            PytestCheck(
                [
                    f"{TRANSPORTS}/test_borders.py",
                    f"{TRANSPORTS}/test_client_address.py",
                    f"{TRANSPORTS}/test_paths.py",
                    f"{TRANSPORTS}/test_handshake.py",
                    f"{CORE}/sessions/test_hosts.py",
                    f"{CORE}/test_webaddress.py",
                    f"{E2E}/test_edge.py",
                    f"{E2E}/test_below_a_path.py",
                ]
            )
        ],
    ),
)
"""All rows, in order."""
