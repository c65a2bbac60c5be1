"""The programs of the page about clients work as they are written."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from evanesce.client import MemberJoined, Message, Room, open_client
from tests.e2e.running import Server
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs/how-to/write-a-client.md").read_text("utf-8")
ECHO, READER, LINKED = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


@contextmanager
def program(code: str, folder: Path, address: str) -> Iterator[subprocess.Popen[str]]:
    file = folder / "program.py"
    file.write_text(code)
    process = subprocess.Popen([sys.executable, file, address], stdout=subprocess.PIPE, text=True)
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


async def next_message(room: Room) -> Message:
    async for event in room:
        if isinstance(event, Message):
            return event
    raise AssertionError("the room was left")


async def test_the_bot_answers(server: Server, tmp_path: Path) -> None:
    with program(ECHO, tmp_path, server.url) as bot, trio.fail_after(PATIENCE):
        link = await trio.to_thread.run_sync(next_line, bot)
        async with open_client(server.url, credential={"provider": "guest", "displayName": "Ana"}) as ana:
            room = await ana.join(link)
            await room.send("grüezi")
            assert (await next_message(room)).content == "grüezi"
            answer = await next_message(room)
        assert (answer.sender_name, answer.content) == ("Echo", "GRÜEZI")


async def test_the_reader_on_asyncio_reads(server: Server, tmp_path: Path) -> None:
    with program(READER, tmp_path, server.url) as reader, trio.fail_after(PATIENCE):
        link = await trio.to_thread.run_sync(next_line, reader)
        async with open_client(server.url, credential={"provider": "guest", "displayName": "Ana"}) as ana:
            await (await ana.join(link)).send("hello")
            assert await trio.to_thread.run_sync(next_line, reader) == "Ana 5"


async def test_the_bot_that_joins_by_a_link_leaves_old_questions_alone(server: Server, tmp_path: Path) -> None:
    async with open_client(server.url, credential={"provider": "guest", "displayName": "Ana"}) as ana:
        link = (await ana.create_room()).deep_link
        room = await ana.join(link)
        await room.send("old")
        with program(LINKED, tmp_path, link), trio.fail_after(PATIENCE):
            async for event in room:
                if isinstance(event, MemberJoined):
                    break
            await room.send("new")
            while (answer := await next_message(room)).sender_name != "Echo":
                continue
            assert answer.content == "NEW"
