"""The terminal's conversation with a scripted server: the rarer words of the protocol."""

from __future__ import annotations

import pytest

from evanesce.model import timestamp
from tests.core.cli.scripted import JOINED, NOW, ROOM, WELCOME, message, stage


async def test_a_gap_is_joined_again_and_prints_nothing_twice() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await connection.says(message(1, "one"), message(2, "two"), {"type": "gap", "since": "cursor 1"})
        join = await connection.takes("join")
        assert join["since"] == "cursor 1"
        again = JOINED | {"messages": [message(2, "two"), message(3, "three")], "missed": None, "cursor": "cursor 3"}
        await connection.says(message(3, "three"), again | {"ref": join["ref"]}, message(4, "four"))
        for expected in ("Ben: one", "Ben: two", "Ben: three", "you may have missed", "Ben: four"):
            await here.prints(expected)


async def test_it_comes_back_with_its_token_and_cursor() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.says(message(1, "one"))
        await here.prints("you are in the room")
        await here.prints("Ben: one")
        goodbye = {"type": "goodbye", "code": 1001, "reason": "Away.", "reconnect": True, "reconnectAfter": 0.01}
        await connection.says(goodbye)
        await connection.socket.aclose(1001)
        await here.prints("Away. Reconnecting")
        connection = await here.connections.receive()
        hello = await connection.answers("hello", WELCOME)
        assert hello["token"] == "first token"
        join = await connection.answers("join", JOINED | {"missed": 3, "messages": [message(5, "five")]})
        assert join["since"] == "cursor 1"
        for expected in ("you are in the room", "you missed 3", "Ben: five"):
            await here.prints(expected)


async def test_every_third_attempt_in_a_row_does_not_name_the_room_in_the_address() -> None:
    async with stage() as here:
        paths: list[str] = []
        for _ in range(5):
            connection = await here.connections.receive()
            paths.append(connection.path)
            if len(paths) == 1:
                await connection.welcomes()
            await connection.socket.aclose(1011)
    hinted = f"/ws?roomId={ROOM}"
    assert paths == [hinted, hinted, hinted, "/ws", hinted], "the first was welcomed, so the count begins after it"


async def test_where_the_worker_of_the_room_refuses_the_first_connections_another_one_is_tried() -> None:
    hinted = f"/ws?roomId={ROOM}"
    async with stage(refused=[hinted]) as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
    assert connection.path == "/ws"
    async with stage(refused=[hinted, "/ws"]) as here:
        await here.over.wait()
    assert here.failure == "cannot reach here: it answers with HTTP status 429"


async def test_a_sign_in_that_has_run_out_is_made_anew() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.socket.aclose(4401)
        connection = await here.connections.receive()
        hello = await connection.answers("hello", WELCOME | {"token": "second token"})
        assert hello["credential"] == {"provider": "guest", "displayName": "Ana"}
        await connection.answers("join", JOINED)
        await connection.socket.aclose(1011)
        connection = await here.connections.receive()
        await connection.refuses("hello", "invalid_token")
        connection = await here.connections.receive()
        assert "credential" in await connection.takes("hello")


async def test_a_server_without_guests() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.refuses("hello", "unknown_provider", message="You can sign in with: worldid.")
        await here.over.wait()
        assert here.failure is not None
        assert "open the link in a browser" in here.failure
        assert "You can sign in with: worldid." in here.failure


async def test_a_server_that_lets_nobody_in_for_the_moment() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.refuses(
            "hello", "persistence_unavailable", message="The database does not answer.", retry=True
        )
        await here.prints("* The database does not answer. Reconnecting")
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")


async def test_the_token_is_renewed_before_its_time_is_over() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.answers("hello", WELCOME | {"tokenExpiresAt": timestamp(NOW + 1)})
        await connection.answers("join", JOINED)
        renewed = {"type": "token", "token": "second token", "tokenExpiresAt": timestamp(NOW + 86_400_000)}
        await connection.answers("refresh", renewed)
        assert (await connection.takes("hello"))["token"] == "second token"


async def test_a_message_is_asked_for_again_under_its_id() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.type("hello")
        first = await connection.refuses("send", "store_unavailable", retry=True, retryAfter=0.01)
        again = await connection.takes("send")
        await connection.socket.aclose(1011)
        connection = await here.connections.receive()
        await connection.welcomes()
        last = await connection.answers("send", {"type": "sent", "messageId": first["messageId"]})
        assert {command["messageId"] for command in (first, again, last)} == {first["messageId"]}
        assert last["content"] == "hello"
        await here.type("/unsend")
        assert (await connection.answers("unsend", {"type": "ok"}))["messageId"] == first["messageId"]


async def test_what_is_typed_without_a_connection_waits_and_says_so() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await connection.socket.aclose(1011)
        await here.prints("Reconnecting")
        await here.type("hello")
        await here.prints("* it waits until the connection is back")
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        sent = await connection.takes("send")
        assert sent["content"] == "hello"


async def test_the_own_message_that_was_taken_back_is_called_so() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await here.type("hello")
        sent = await connection.takes("send")
        own = {"type": "message", "messageId": sent["messageId"], "senderId": "me", "senderName": "Ana"}
        times = {"content": "hello", "createdAt": timestamp(NOW), "expiresAt": timestamp(NOW + 60_000), "cursor": "1"}
        await connection.says({"type": "sent", "messageId": sent["messageId"], "ref": sent["ref"]}, own | times)
        await here.prints("Ana: hello")
        await here.type("/unsend")
        await connection.answers("unsend", {"type": "ok"}, {"type": "unsent", "messageId": sent["messageId"]})
        await here.prints("* you took your message back")


async def test_what_is_refused_is_said() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room")
        await here.type("hello")
        await connection.refuses("send", "rejected")
        await here.prints("* not sent: It is rejected.")
        await here.type("/unsend")
        await here.prints("no message to take back")


async def test_notices() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await here.prints("you are in the room: 1 person: Ana")
        await connection.says(
            {"type": "member_joined", "userId": "ben", "displayName": "Ben", "memberCount": 2},
            {"type": "member_updated", "userId": "ben", "displayName": "Benno"},
            {"type": "typing", "userId": "ben"},
            {"type": "member_left", "userId": "ben", "memberCount": 1},
            {"type": "skipped", "count": 2},
            {"type": "unsent", "messageId": "1"},
            {"type": "from a later version"},
            {"type": "member_count", "memberCount": 300},
            {"type": "room_closed", "reason": "It is over."},
        )
        for expected in (
            "Ben joined",
            "Ben is now Benno",
            "Benno left",
            "2 messages expired",
            "taken back",
            "It is over.",
        ):
            await here.prints(expected)
        await here.over.wait()
        assert here.failure is None


@pytest.mark.parametrize("retry", [True, False])
async def test_a_room_that_cannot_be_joined(retry: bool) -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.answers("hello", WELCOME)
        await connection.refuses("join", "room_full", retry=retry, retryAfter=0.01)
        if retry:
            await connection.answers("join", JOINED)
            await here.prints("you are in the room")
        else:
            await here.over.wait()
            assert here.failure == "It is room_full."


async def test_a_code_that_forbids_coming_back() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.welcomes()
        await connection.says({"type": "goodbye", "code": 4403, "reason": "Not you.", "reconnect": False})
        await connection.socket.aclose(4403)
        await here.over.wait()
        assert here.failure == "the server closed the connection: Not you."


async def test_a_code_that_forbids_coming_back_in_place_of_a_welcome() -> None:
    async with stage() as here:
        connection = await here.connections.receive()
        await connection.takes("hello")
        await connection.says({"type": "goodbye", "code": 4429, "reason": "Close one of them.", "reconnect": False})
        await connection.socket.aclose(4429)
        await here.over.wait()
        assert here.failure == "the server closed the connection: Close one of them."
