"""What is sent to a service manager, and which environment names one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from evanesce.lifecycle.service_manager import ServiceManager


class Receiver:
    """The socket of a service manager."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.socket.setblocking(False)

    def messages(self) -> list[str]:
        found: list[str] = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(str(tmp_path / "notify"))
    yield receiver
    receiver.socket.close()


@pytest.mark.parametrize(
    ("environment", "ping_seconds"),
    [
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "8000000"}, 2.0),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "7"}, 2.0),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "8"}, None),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "-1"}, None),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/run/notify"}, None),
        ({"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "8000000"}, None),
        ({"WATCHDOG_USEC": "8000000"}, None),
        ({}, None),
    ],
)
def test_how_often_a_sign_of_life_is_expected(environment: dict[str, str], ping_seconds: float | None) -> None:
    assert ServiceManager.from_environment(environment, pid=7).ping_seconds == ping_seconds


async def test_signs_of_life_only_while_alive(receiver: Receiver, autojump_clock: trio.testing.MockClock) -> None:
    alive = True
    name = receiver.socket.getsockname()
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.run, lambda: alive)
        await trio.sleep(4.5)
        assert receiver.messages() == ["WATCHDOG=1"] * 5
        alive = False
        await trio.sleep(4)
        assert receiver.messages() == []
        alive = True
        await trio.sleep(1)
        assert receiver.messages() == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


async def test_an_abstract_name(autojump_clock: trio.testing.MockClock) -> None:
    receiver = Receiver("\0evanesce-test-of-notify")
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": "@evanesce-test-of-notify"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.run)
        manager.stopping()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert receiver.messages() == ["STOPPING=1\nSTATUS=closing all connections"]
    receiver.socket.close()


async def test_a_service_manager_that_reads_nothing_or_is_gone_delays_nothing(
    receiver: Receiver, autojump_clock: trio.testing.MockClock
) -> None:
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": receiver.socket.getsockname()})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.run)
        for number in range(10_000):  # more than the kernel and the queue take
            manager.ready(str(number))
        await trio.sleep(3600)
        read = receiver.messages()
        assert 0 < len(read) < 1000
        receiver.socket.close()
        manager.ready("nobody reads this")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert read[0] == "READY=1\nSTATUS=0"
