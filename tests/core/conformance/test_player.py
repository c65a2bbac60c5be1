"""What the runner says about clients that do something else, and about programs that are no clients."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from evanesce.conformance.outcome import Failure, as_json, lines
from evanesce.conformance.player import play
from evanesce.conformance.transcript import Transcript, read
from evanesce.errors import ConfigurationError

REFERENCE = [sys.executable, str(Path(__file__).parents[2] / "conformance" / "reference_client.py")]
CONNECT = {"do": {"do": "connect", "token": "t"}}


def transcript(*steps: dict[str, Any]) -> Transcript:
    fields = {"name": "one", "about": "It is about this.", "protocol": "The protocol says so.", "steps": steps}
    return read(json.dumps(fields).encode(), "one.json")


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


async def failure(command: list[str], *steps: dict[str, Any]) -> Failure:
    outcome = await play(transcript(*steps), command)
    assert outcome.failure is not None
    return outcome.failure


async def test_a_field_that_differs() -> None:
    found = await failure(REFERENCE, CONNECT, {"accept": {}}, {"client": {"type": "hello", "token": "u"}})
    assert found.number == 3
    assert found.step == {"client": {"type": "hello", "token": "u"}}
    assert found.protocol == "The protocol says so."
    [difference] = found.differences
    assert (difference.path, difference.expected, difference.came) == ("token", '"u"', '"t"')


async def test_the_reason_of_a_step_replaces_that_of_the_transcript() -> None:
    step = {"client": {"type": "join"}, "why": "This step says more."}
    assert (await failure(REFERENCE, CONNECT, {"accept": {}}, step)).protocol == "This step says more."


async def test_nothing_comes_in_time() -> None:
    found = await failure(REFERENCE, {"event": {"event": "joined"}, "within": 0.1})
    assert found.came == "nothing in 0.1 s"
    found = await failure(REFERENCE, {"accept": {"within": 0.1}})
    assert found.came == "none in 0.1 s"


async def test_something_comes_that_nobody_expects() -> None:
    found = await failure(REFERENCE, CONNECT, {"accept": {}}, {"state": "connecting"}, {"quiet": 60})
    assert found.expected == "nothing more"
    assert found.came.startswith('a frame: {"type":"hello"')
    found = await failure(REFERENCE, CONNECT, {"quiet": 60})
    assert found.came == "another connection of the client"


async def test_what_is_left_at_the_end_is_a_failure() -> None:
    talks = program('print(\'{"event": "state", "state": "online"}\\n{"event": "typing"}\', flush=True); input()')
    found = await failure(talks, {"state": "online"}, {"quiet": 60})
    assert found.came == 'an event: {"event":"typing"}'


async def test_a_line_that_is_no_json() -> None:
    found = await failure(program("print('hello', flush=True); input()"), {"event": {"event": "joined"}})
    assert found.came == '"hello"'


async def test_a_program_that_ends_shows_its_last_errors() -> None:
    ends = program("import sys; print('it\\nwent wrong', file=sys.stderr, flush=True); sys.exit(3)")
    found = await failure(ends, {"accept": {}})
    assert found.came == "the client's process ended with exit code 3"
    assert found.errors == ["it", "went wrong"]


async def test_a_program_that_never_stops_talking() -> None:
    found = await failure(program('while True: print(\'{"event": "typing"}\')'), {"accept": {}})
    assert found.came.startswith("more than 1000 frames or events that nobody expects")


async def test_the_server_cannot_send_without_a_connection() -> None:
    assert (await failure(REFERENCE, {"server": [{"type": "typing"}]})).came == "there is none"


async def test_too_early_is_a_failure() -> None:
    again = [CONNECT, {"accept": {}}, {"kill": True}, {"accept": {"not_before": 60}}]
    assert re.fullmatch(r"after \d\.\d{3} s", (await failure(REFERENCE, *again)).came)
    late = {"client": {"type": "hello"}, "not_before": 60}
    assert (await failure(REFERENCE, CONNECT, {"accept": {}}, late)).came.startswith("it too early, by more than 5")


async def test_an_event_may_come_before_the_last_step_of_the_server() -> None:
    tells = program('print(\'{"event": "left"}\\n{"event": "typing"}\', flush=True); input(); input()')
    steps = [{"event": {"event": "left"}}, {"do": {}}, {"event": {"event": "typing"}}]
    assert (await play(transcript(*steps), tells)).failure is None
    steps[2] |= {"not_before": 0.5}
    assert (await failure(tells, *steps)).came.startswith("it too early, by more than 0.")


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises((ConfigurationError, ExceptionGroup)) as raised:
        await play(transcript({"quiet": 0}), ["/no/such/program"])
    assert "/no/such/program cannot be started" in repr(raised.value)


async def test_every_step_of_the_server() -> None:
    welcome = {"server": [{"type": "welcome", "ref": "$h", "heartbeat": 25}]}
    hello = {"client": {"type": "hello", "ref": "$h"}, "absent": ["credential"]}
    steps: list[dict[str, Any]] = [
        CONNECT,
        {"refuse": "tcp"},
        {"refuse": 503},
        *({"accept": {"unhinted_in_last": 1}}, hello, welcome, {"state": "online"}, {"ping": True}, {"stall": 0.1}),
        {"do": {"do": "join", "roomId": "$room"}},
        {"client": {"type": "join", "ref": "$j"}},
        {"freeze": 0.1, "during": [{"server": [{"type": "joined", "ref": "$j", "cursor": "$c"}], "frame_bytes": 9000}]},
        {"any_order": [{"event": {"event": "joined"}}, {"event": {"event": "message"}}]},
    ]
    steps[-2]["during"][0]["server"].append({"type": "message", "messageId": "$m", "cursor": "$d"})
    again = [{"close": 1011, "reason": "a fault"}, {"accept": {}}, {"client": {"type": "hello"}}, {"kill": True}]
    outcome = await play(transcript(*steps, *again, {"quiet": 0}), REFERENCE)
    assert outcome.failure is None, list(lines(outcome))


async def test_other_requests_than_the_websocket_are_not_answered_with_one() -> None:
    asks = program(
        "import http.client, sys, urllib.parse\n"
        "upgrade = {'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13',"
        " 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA=='}\n"
        "statuses = []\n"
        "for path, headers in ('/api/v1/session', {}), ('/ws', {}), ('/other', upgrade):\n"
        "    connection = http.client.HTTPConnection(urllib.parse.urlsplit(sys.argv[1]).netloc)\n"
        "    connection.request('GET', path, headers=headers)\n"
        "    statuses.append(connection.getresponse().status)\n"
        "print(*statuses, flush=True)"
    )
    found = await failure(asks, {"accept": {"within": 60}})
    assert found.came == 'the client\'s process ended with exit code 0; meanwhile the driver wrote "400 400 404"'


async def test_the_report_for_a_person_and_as_json() -> None:
    outcome = await play(transcript(CONNECT, {"accept": {}}, {"client": {"type": "join"}}), REFERENCE)
    text = list(lines(outcome))
    assert text[0].startswith("failed  one  ")
    assert [line.strip().partition(":")[0] for line in text[1:]] == [
        "about", "step 3", "expected", "came", "type", "protocol",
    ]  # fmt: skip
    [fields] = json.loads(as_json([outcome]))
    assert fields["name"] == "one"
    assert fields["failure"]["differences"] == [{"path": "type", "expected": '"join"', "came": '"hello"'}]
