"""Arrivals of people at a server that serves them, late or never."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.benchmarks.load import arrivals
from tests.benchmarks.load.arrivals import Arrivals
from tests.benchmarks.load.dialects import RESUMING, Step

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load waits with epoll")


@pytest.fixture
def closing_port() -> Iterator[int]:
    """Listen on a port, and close each connection after its first bytes."""

    def close_all() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(4096) == b"end":
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        thread = threading.Thread(target=close_all)
        thread.start()
        yield port
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.sendall(b"end")
        thread.join()


def test_a_server_that_sends_somebody_away_again_and_again_does_not_hold_up_the_run(
    closing_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "MOST_SECONDS", 0.5)
    monkeypatch.setattr(arrivals, "RETRY_SECONDS", 0.01)
    people = [[Step(b"let me in", b"welcome")]]
    turned_away = Arrivals(closing_port, RESUMING["evanesce"], people, 0, [os.getpid()])
    with pytest.raises(RuntimeError, match=r"1 of 1 were not served within \d+ s; one of them tried \d+ times"):
        turned_away.measure()
    turned_away.people[0].connection.close()
