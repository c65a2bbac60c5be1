"""What the load says in rooms: a busy server refuses it, and it is said again."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.benchmarks.load import coming_back
from tests.benchmarks.load.coming_back import hear_one_each
from tests.benchmarks.load.wire import MARK

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load waits with epoll")

REFUSED = b'"type":"error"'


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Two members of a room, and the server's end of the connection of each."""
    made = [socket.socketpair() for _ in range(2)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_what_was_refused_is_said_again(
    pairs: list[tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coming_back, "RETRY_SECONDS", 0.0)
    [(sender, of_sender), (reader, of_reader)] = pairs
    asked: list[bytes] = []

    def refuse_twice() -> None:
        for _ in range(2):
            asked.append(of_sender.recv(100))
            of_sender.send(b"[{" + REFUSED + b"}]")
        asked.append(of_sender.recv(100))
        for end in (of_sender, of_reader):
            end.send(MARK)

    sender.send(b"say")
    server = threading.Thread(target=refuse_twice)
    server.start()
    heard = hear_one_each([sender, reader], [(sender, b"say")], REFUSED)
    server.join()
    assert asked == [b"say"] * 3
    assert [one.count(MARK) for one in heard] == [1, 1]
    assert heard[0].count(REFUSED) == 2


def test_a_failure_tells_of_refusals_and_of_a_closed_connection(
    pairs: list[tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coming_back, "PATIENCE", 0.0)
    [(sender, of_sender), (reader, _)] = pairs
    with pytest.raises(RuntimeError, match=r"^2 of 2 did not receive a message$"):
        hear_one_each([sender, reader], [], REFUSED)
    monkeypatch.undo()
    of_sender.close()
    with pytest.raises(RuntimeError, match="the server closed the connection"):
        hear_one_each([sender, reader], [], REFUSED)
