"""The client library with a scripted peer, on a clock that does not wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from evanesce.client.client import Client
from evanesce.client.clock import ServerClock
from evanesce.client.errors import NotSent, OutcomeUnknown, Refused, Stopped
from evanesce.client.events import Expired, Joined, Left, MemberCount, Message, Missed, RoomEvent, Sent, State
from evanesce.client.feed import WAITING_EVENTS
from evanesce.client.links import BadLink
from evanesce.client.outgoing import WAITING_SENDS
from evanesce.client.room import Room
from tests.core.client.scripted import ROOM, Peer, PeerConnection, message, scripted, sent, server_time


async def entered(client: Client, peer: Peer) -> tuple[Room, PeerConnection]:
    """Sign in and join the room."""
    room = client.enter(ROOM)
    connection = await peer.connections.receive()
    await connection.welcomes()
    await connection.lets_in()
    assert isinstance(await anext(room), Joined)
    return room, connection


async def expect(room: Room, kind: type[RoomEvent]) -> RoomEvent:
    event = await anext(room)
    assert isinstance(event, kind), event
    return event


async def test_it_waits_longer_after_each_failure_and_then_resumes(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        await connection.says(message(1))
        await expect(room, Message)
        start = trio.current_time()
        peer.away = True
        await connection.kill()
        await trio.sleep(20)
        assert [round(attempt - start) for attempt in peer.attempts[1:]] == [1, 3, 7, 15]
        peer.away = False
        connection = await peer.connections.receive()
        await connection.welcomes()
        assert (await connection.lets_in(messages=[message(1), message(2)], missed=3))["since"] == "cursor 1"
        assert isinstance(joined := await anext(room), Joined)
        assert joined.resumed
        missed = await anext(room)
        assert isinstance(missed, Missed)
        assert (missed.count, missed.reason) == (3, "resume")
        assert isinstance(event := await anext(room), Message)
        assert event.message_id == "2"


async def test_a_message_keeps_its_id_until_it_is_acknowledged(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        results: list[Sent] = []

        async def send() -> None:
            results.append(await room.send("hello"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            first = await connection.takes("send")
            await connection.kill()
            connection = await peer.connections.receive()
            await connection.welcomes()
            await connection.lets_in()
            again = await connection.takes("send")
            await connection.says(sent(again) | {"roomId": ROOM, "ref": again["ref"], "duplicate": True})
        assert first["messageId"] == again["messageId"] == results[0].message_id
        assert results[0].duplicate


@pytest.mark.parametrize(("ttl", "life"), [(None, 60), (5, 5), (90, 60)])
async def test_without_an_answer_the_outcome_is_unknown_after_the_life_of_the_message(
    autojump_clock: MockClock, ttl: float | None, life: float
) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        start = trio.current_time()
        peer.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(written, connection)
            with pytest.raises(OutcomeUnknown):
                await room.send("hello", ttl=ttl)
        assert trio.current_time() - start == pytest.approx(life, abs=0.1)


async def written(connection: PeerConnection) -> None:
    await connection.takes("send")
    await connection.kill()


async def test_what_was_never_written_was_not_sent(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        peer.away = True
        await connection.kill()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NotSent):
            await room.send("hello", ttl=20)


async def test_not_all_messages_may_wait(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, _ = await entered(client, peer)
        async with trio.open_nursery() as nursery:
            for number in range(WAITING_SENDS):
                nursery.start_soon(room.send, f"text {number}")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(NotSent, match="wait to be sent"):
                await room.send("one too many")
            nursery.cancel_scope.cancel()


async def test_a_rate_limit_is_waited_for_and_other_errors_are_raised(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)

        async def answer() -> None:
            limited = {"type": "error", "code": "rate_limited", "message": "", "retry": True, "retryAfter": 7}
            await connection.answers("send", limited)
            start = trio.current_time()
            refused = {"type": "error", "code": "rejected", "message": "No.", "retry": False}
            await connection.answers("send", refused)
            assert trio.current_time() - start == pytest.approx(7)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with pytest.raises(Refused) as caught:
                await room.send("hello")
        assert caught.value.code == "rejected"


async def test_expiry_is_told_at_the_end_of_a_message(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        await connection.says(message(1, life=30))
        await expect(room, Message)
        start = trio.current_time()
        await expect(room, Expired)
        assert trio.current_time() - start == pytest.approx(30, abs=0.01)


async def test_a_sleep_that_only_the_time_of_day_saw_is_noticed_within_a_second(autojump_clock: MockClock) -> None:
    slept = 0.0
    clock = ServerClock(wall=lambda: trio.current_time() + slept)
    async with scripted(clock=clock) as (client, peer):
        room, connection = await entered(client, peer)
        await connection.says(message(1, life=50))
        await expect(room, Message)
        slept = 3600.0
        start = trio.current_time()
        await expect(room, Expired)
        assert trio.current_time() - start <= 1.1
        await connection.takes("ping")


async def test_a_silent_server_is_asked_and_then_given_up(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        _, connection = await entered(client, peer)
        start = trio.current_time()
        await connection.takes("ping")
        assert 35 <= trio.current_time() - start <= 36.1
        await peer.connections.receive()
        assert 40 <= trio.current_time() - start <= 42.2


async def test_what_nobody_reads_stops_the_reading_and_not_the_connection(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        event = {"type": "member_count", "roomId": ROOM, "memberCount": 2}
        total = WAITING_EVENTS + 500
        accepted = 0
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                nonlocal accepted
                for _ in range(total):
                    await connection.says(event)
                    accepted += 1

            nursery.start_soon(flood)
            await trio.sleep(300)  # longer than a silent server would be endured
            assert WAITING_EVENTS <= accepted < total
            assert client.state.state == "online"
            for _ in range(total):
                await expect(room, MemberCount)
        assert accepted == total


@pytest.mark.parametrize(
    "frame",
    ["no JSON", "{}", "[1]", "[{}]", f'[{{"type": "message", "roomId": "{ROOM}"}}]', '[{"type": "ok", "ref": []}]'],
)
async def test_what_is_not_the_protocol_ends_the_connection_and_another_is_tried(
    autojump_clock: MockClock, frame: str
) -> None:
    async with scripted() as (client, peer):
        _, connection = await entered(client, peer)
        await connection.socket.send_message(frame)
        await peer.connections.receive()
        assert [state.reason for state in peer.states if state.state == "offline"] == [
            "the server sent what is not the protocol"
        ]


async def test_a_join_that_nobody_waits_for_any_more_goes_on(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        connection = await peer.connections.receive()
        await connection.welcomes()
        with trio.move_on_after(5) as given_up:
            await client.join(ROOM)
        assert given_up.cancelled_caught
        await connection.lets_in()
        room = client.enter(ROOM)
        assert isinstance(await anext(room), Joined)
        with trio.move_on_after(5) as quiet:
            await anext(room)
        assert quiet.cancelled_caught
        await connection.says(message(1))
        await expect(room, Message)
        assert client.enter(ROOM) is room


async def test_a_client_that_is_offline_says_why_and_for_how_long(autojump_clock: MockClock) -> None:
    """The same as `offline` of the JavaScript client has."""
    async with scripted() as (client, peer):
        _, connection = await entered(client, peer)
        goodbye = {"code": 1012, "reason": "The server restarts.", "reconnect": True, "reconnectAfter": 5}
        await connection.says({"type": "goodbye"} | goodbye)
        await connection.socket.aclose(1012)
        connection = await peer.connections.receive()
        busy = {"type": "error", "code": "auth_unavailable", "message": "Try later.", "retry": True, "retryAfter": 2}
        await connection.answers("hello", busy)
        connection = await peer.connections.receive()
        await connection.welcomes()
        await connection.socket.aclose(1001, "in the frame of the end")
        await peer.connections.receive()
    offline = [(state.reason, state.retry_in) for state in peer.states if state.state == "offline"]
    assert offline[:2] == [("The server restarts.", 6.0), ("Try later.", 2.4)]  # with the jitter, which is the most
    assert offline[2][0] == "in the frame of the end"
    assert offline[2][1] is not None


async def test_a_refused_sign_in_stops_until_another_is_given(autojump_clock: MockClock) -> None:
    async with scripted() as (client, peer):
        room = client.enter(ROOM)
        connection = await peer.connections.receive()
        refused = {"type": "error", "code": "auth_failed", "message": "It proves nothing.", "retry": False}
        await connection.answers("hello", refused)
        with pytest.raises(Stopped) as caught:
            await anext(room)
        assert caught.value.code == "auth_failed"
        client.sign_in_anew(token="another")
        connection = await peer.connections.receive()
        assert (await connection.welcomes())["token"] == "another"
        await connection.lets_in()
        await expect(room, Joined)


@pytest.mark.parametrize("act", [Room.send, Room.request])
async def test_a_room_that_was_left_says_so(autojump_clock: MockClock, act: Callable[..., Awaitable[object]]) -> None:
    async with scripted() as (client, peer):
        room, connection = await entered(client, peer)
        await connection.says({"type": "room_closed", "roomId": ROOM, "reason": "over"})
        kinds = [type(event) async for event in room]
        assert kinds[-1] is Left
        with pytest.raises(NotSent, match="closed"):
            await act(room, "hello" if act is Room.send else {"type": "members"})


async def test_a_token_is_renewed_before_its_end_and_again_if_that_failed(autojump_clock: MockClock) -> None:
    async with scripted() as (_, peer):
        connection = await peer.connections.receive()
        await connection.welcomes(heartbeat=1000, token="first", tokenExpiresAt=server_time(100))
        start = trio.current_time()
        failed = {"type": "error", "code": "internal", "message": "", "retry": True}
        await connection.answers("refresh", failed)
        assert trio.current_time() - start == pytest.approx(80, abs=1.1)
        renewed = {"type": "token", "token": "second", "tokenExpiresAt": server_time(100)}
        await connection.answers("refresh", renewed)
        assert trio.current_time() - start == pytest.approx(90, abs=2.2)
        assert (await connection.welcomes())["token"] == "second"


@pytest.mark.parametrize(
    "rest", ["/r/abc", "/r/", "/r", "/chat/r/abc", f"/r/{ROOM}x", f"/r/{ROOM}#k=short", f"/{ROOM}#k=x"]
)
def test_a_malformed_link_of_a_room_is_no_address_of_a_server(rest: str) -> None:
    with pytest.raises(BadLink):
        Client(f"http://here{rest}", token="a token")


@pytest.mark.parametrize(
    "url", ["http://here", "http://here/chat/", f"http://here/r/{ROOM}", f"http://here/chat/r/{ROOM}/"]
)
async def test_an_address_or_a_whole_link_is_one(url: str) -> None:
    assert Client(url, token="a token").state == State(state="offline")


def test_a_state_shows_what_it_says() -> None:
    state = State(state="offline", code=1012, reason="restart", retry_in=1.5)
    assert repr(state) == str(state) == "State(state='offline', code=1012, reason='restart', retry_in=1.5)"
    assert repr(State(state="online")) == "State(state='online')"
