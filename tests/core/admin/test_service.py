"""What operators can do, over a real socket: on whichever server they ask, it holds on all."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from openapi_spec_validator import OpenAPIV31SpecValidator
from trio.testing import wait_all_tasks_blocked

from evanesce.admin import announcing
from evanesce.admin.openapi import document
from evanesce.admin.operations import OPERATIONS
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.core.admin.parts import Interface, interface
from tests.patience import PATIENCE


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await wait_all_tasks_blocked()
        await trio.sleep(0.01)


class Scene:
    """Ada and her room are on server two; operators ask server one."""

    def __init__(self, one: TestServer, two: TestServer, memory: MemoryServer, operators: Interface) -> None:
        self.one, self.two, self.memory, self.operators = one, two, memory, operators

    async def begin(self) -> None:
        self.ada = self.two.connect()
        welcome = await self.ada.ask("hello", credential={"provider": "name", "name": "Ada"})
        self.user_id, self.token = welcome["userId"], welcome["token"]
        self.room_id = await self.two.open_room(self.ada)
        await self.ada.ask("join", roomId=self.room_id)
        with trio.fail_after(PATIENCE):
            await eventually(lambda: self.one.repository.chat_rooms[self.room_id].active)

    async def done(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, answer = await self.operators.ask(method, f"/admin/v1/{path}", body)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, object, object]:
        status, answer = await self.operators.ask(method, f"/admin/v1/{path}", body)
        assert answer["message"]
        return status, answer["code"], answer.get("field")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    memory, repository = MemoryServer(), MemoryRepository()
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(memory_server(memory=memory, repository=repository)) for _ in range(2)
        ]
        scene = Scene(one, two, memory, await stack.enter_async_context(interface(one)))
        await scene.begin()
        yield scene
        memory.up, repository.state = True, "up"


async def closed(connection: MemoryConnection) -> int:
    with trio.fail_after(PATIENCE):
        return (await connection.end())[0]


async def test_rooms_and_their_members_are_listed(scene: Scene) -> None:
    unused = await scene.two.open_room(scene.ada)
    [room] = (await scene.done("GET", "rooms"))["rooms"]
    assert (room["roomId"], room["memberCount"], room["createdBy"]) == (scene.room_id, 1, scene.user_id)
    every = (await scene.done("GET", "rooms?all=true"))["rooms"]
    assert {one["roomId"] for one in every} == {scene.room_id, unused}
    page = await scene.done("GET", "rooms?all=true&limit=1")
    rest = await scene.done("GET", f"rooms?all=true&limit=1&after={page['next']}")
    assert "next" not in rest
    assert [*page["rooms"], *rest["rooms"]] == every
    found = await scene.done("GET", f"rooms/{scene.room_id}")
    assert found["room"] == room
    assert found["members"] == [{"userId": scene.user_id, "displayName": "Ada"}]


async def test_no_answer_contains_what_people_write(scene: Scene) -> None:
    content = "only for the people in the room"
    assert (await scene.ada.ask("send", roomId=scene.room_id, content=content))["type"] == "sent"
    places = {"{roomId}": scene.room_id, "{user}": scene.user_id}
    looks = [operation for operation in OPERATIONS if operation.method == "GET"]
    assert {operation.name for operation in looks} >= {"stats", "rooms", "room", "users", "user", "bans"}
    for operation in looks:
        path = re.sub(r"\{\w+\}", lambda place: places[place[0]], operation.path)
        status, answer = await scene.operators.ask("GET", path)
        assert status == 200, path
        assert content not in json.dumps(answer, ensure_ascii=False), path


async def test_a_room_is_closed_for_its_members_on_other_servers(scene: Scene) -> None:
    await scene.done("DELETE", f"rooms/{scene.room_id}")
    with trio.fail_after(PATIENCE):
        event = await scene.ada.until("room_closed", roomId=scene.room_id)
    assert "operator" in event["reason"]
    assert await scene.refused("DELETE", f"rooms/{scene.room_id}") == (404, "room_not_found", None)
    assert await scene.refused("GET", f"rooms/{scene.room_id}") == (404, "room_not_found", None)
    assert await scene.refused("GET", "rooms/no-room") == (400, "bad_request", "roomId")


async def test_users_are_listed_with_nothing_that_identifies_the_person_elsewhere(scene: Scene) -> None:
    bob = await scene.one.sign_in("Bob")
    bob.leave()
    await closed(bob)
    [user] = (await scene.done("GET", "users"))["users"]
    assert user.keys() == {
        *("userId", "displayName", "provider", "guest", "createdAt", "lastActive", "connected"),
    }
    assert (user["userId"], user["provider"], user["connected"]) == (scene.user_id, "name", True)
    first = await scene.done("GET", "users?all=true&limit=1")
    rest = await scene.done("GET", f"users?all=true&limit=1&after={first['next']}")
    names = {one["displayName"] for page in (first, rest) for one in page["users"]}
    assert names == {"Ada", "Bob"}
    for name in (scene.user_id, "name%3AAda"):
        assert (await scene.done("GET", f"users/{name}"))["user"] == user
    assert await scene.refused("GET", "users/nobody") == (400, "bad_request", "user")


async def test_a_user_is_disconnected_everywhere_and_may_come_back(scene: Scene) -> None:
    assert await scene.done("POST", f"users/{scene.user_id}/disconnect") == {"changed": True}
    assert await closed(scene.ada) == 4403
    back = await scene.two.connect().ask("hello", token=scene.token)
    assert back["type"] == "welcome"


async def test_a_person_is_banned_everywhere_and_unbanned(scene: Scene) -> None:
    ban = await scene.done("PUT", f"users/{scene.user_id}/ban", {"seconds": 3600, "reason": "spam"})
    assert (ban["userId"], ban["reason"]) == (scene.user_id, "spam")
    assert await closed(scene.ada) == 4403
    assert (await scene.two.connect().ask("hello", token=scene.token))["code"] == "forbidden"
    assert (await scene.done("GET", f"users/{scene.user_id}"))["ban"] == ban
    assert await scene.done("GET", "bans") == {"bans": [ban]}
    assert await scene.done("DELETE", f"users/{ban['banId']}/ban") == {"changed": True}
    assert await scene.done("DELETE", f"users/{scene.user_id}/ban") == {"changed": False}
    assert (await scene.two.connect().ask("hello", token=scene.token))["type"] == "welcome"
    assert "until" not in await scene.done("PUT", f"users/{scene.user_id}/ban", {})


async def test_an_announcement_reaches_every_room_in_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "PAGE", 1)
    sealed = await scene.ada.ask("create_room", encrypted=True)
    await scene.ada.ask("join", roomId=sealed["roomId"])
    with trio.fail_after(PATIENCE):
        await eventually(lambda: scene.one.repository.chat_rooms[sealed["roomId"]].active)
    counts, after = [], ""
    while True:
        answer = await scene.done("POST", "announce", {"text": "We restart at 12.", "after": after})
        counts.append((answer["sent"], answer["refused"], answer["failed"]))
        after = str(answer.get("next", ""))
        if not after:
            break
    assert sorted(count for count in counts if any(count)) == [(0, 1, 0), (1, 0, 0)]
    with trio.fail_after(PATIENCE):
        message = await scene.ada.until("message", roomId=scene.room_id)
    assert (message["content"], message["senderId"], message["senderName"]) == (
        "We restart at 12.",
        "service:evanesce",
        "Announcement (service)",
    )


async def test_one_server_is_taken_out_of_service_and_then_the_other(scene: Scene) -> None:
    here = await scene.one.sign_in("Bob")
    name = scene.two.store.servers.server_name
    with trio.fail_after(PATIENCE):
        await eventually(lambda: name in scene.memory.statuses)  # each server reports when it starts
    assert (await scene.done("GET", "stats"))["servers"].keys() == set(scene.memory.statuses)
    assert await scene.done("POST", "drain", {"server": name}) == {"servers": [name]}
    assert await closed(scene.ada) == 1001
    assert (await scene.two.gateway.readiness()).status == "draining"
    assert await closed(scene.two.connect()) == 1001
    assert (await here.ask("ping"))["type"] == "pong"
    assert (await scene.one.gateway.readiness()).status == "ready"
    answer = await scene.done("POST", "drain", {"all": True})
    assert len(answer["servers"]) == 2
    assert await closed(here) == 1001
    assert (await scene.done("GET", "stats"))["parts"] == {"redis": "up", "database": "up", "name": "up"}


@pytest.mark.parametrize("body", [{}, {"server": "another"}, {"server": "x", "all": True}, {"server": ""}])
async def test_who_is_taken_out_of_service_is_said_exactly(scene: Scene, body: dict[str, object]) -> None:
    assert await scene.refused("POST", "drain", body) == (400, "bad_request", "server")
    assert (await scene.ada.ask("ping"))["type"] == "pong"


async def test_with_the_database_down_nothing_is_half_done(scene: Scene) -> None:
    scene.one.repository.state = "down"
    unavailable = (503, "persistence_unavailable", None)
    assert await scene.refused("PUT", f"users/{scene.user_id}/ban", {}) == unavailable
    assert await scene.refused("DELETE", f"rooms/{scene.room_id}") == unavailable
    assert (await scene.done("GET", "stats"))["parts"]["database"] == "down"
    assert (await scene.ada.ask("ping"))["type"] == "pong"


async def test_with_the_store_down_the_answer_says_so(scene: Scene) -> None:
    scene.memory.up = False
    unavailable = (503, "store_unavailable", None)
    assert await scene.refused("POST", f"users/{scene.user_id}/disconnect") == unavailable
    assert await scene.refused("POST", "drain", {"all": True}) == unavailable
    assert await scene.refused("POST", "announce", {"text": "x"}) == unavailable
    stats = await scene.done("GET", "stats")
    assert list(stats["servers"]) == [stats["answeredBy"]]
    assert (await scene.done("PUT", f"users/{scene.user_id}/ban", {}))["userId"] == scene.user_id


async def test_the_description_is_valid_and_complete(scene: Scene) -> None:
    described = await scene.done("GET", "openapi.json")
    assert described == json.loads(document())
    OpenAPIV31SpecValidator(described).validate()
    paths = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert paths == {(operation.method, operation.path) for operation in OPERATIONS}
