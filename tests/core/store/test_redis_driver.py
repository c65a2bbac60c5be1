"""What Evanesce leans on in redis-py, below its documented surface: fails when a new version changes it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import BusyLoadingError, NoScriptError, ResponseError, TimeoutError

from evanesce.errors import ConfigurationError
from evanesce.store.redis import connection as connections
from evanesce.store.redis.connection import BROKEN, Address, Connection
from tests.core.store.backends import RedisBackend
from tests.patience import Stopwatch


def test_the_version_is_one_that_was_tried() -> None:
    assert redis.__version__.startswith("8.1.")


def test_the_driver_has_what_is_called() -> None:
    driver = redis.connection.UnixDomainSocketConnection
    for name in (
        "connect",
        "disconnect",
        "pack_command",
        "pack_commands",
        "send_packed_command",
        "read_response",
        "can_read",
    ):
        assert callable(getattr(driver, name)), name
    pool = redis.connection.ConnectionPool()
    assert issubclass(pool.connection_class, redis.connection.AbstractConnection)
    assert isinstance(pool.connection_kwargs, dict)


async def test_there_is_no_end_of_connections(valkey: RedisBackend) -> None:
    """redis-py's pool makes a hundred; after half a minute without Redis that many were tried."""
    for address in (Address(valkey.url), Address("redis://127.0.0.1:1").at("127.0.0.1", 2)):
        for _ in range(300):
            address.connection().close()


@contextmanager
def server(folder: Path, *answers: bytes) -> Generator[tuple[Connection, list[bytes]], None, None]:
    """Take one connection, give the next of `answers` each time that anything comes, and then be silent."""
    path = str(folder / "socket")
    received: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            for answer in answers:
                received.append(peer.recv(65_536))
                peer.sendall(answer)
            while data := peer.recv(65_536):
                received.append(data)

    thread = threading.Thread(target=serve)
    thread.start()
    connection = Address(f"unix://{path}").connection()
    connection.connect()
    yield connection, received
    connection.close()
    thread.join()
    listener.close()


async def test_refusals_stay_in_their_place(valkey: RedisBackend) -> None:
    connection = Address(valkey.url).connection()
    connection.connect()
    one, unknown, wrong, two = connection.exchange(
        [("SET", "a", b"\0\r\n"), ("EVALSHA", "f" * 40, 0), ("INCR", "a"), ("GET", "a")]
    )
    assert (one, two) == (b"OK", b"\0\r\n")
    assert isinstance(unknown, NoScriptError)
    assert isinstance(wrong, ResponseError)
    connection.close()


def test_a_server_that_is_loading_says_so_and_keeps_the_connection(tmp_path: Path) -> None:
    with server(tmp_path, b"-LOADING Redis is loading the dataset in memory\r\n+OK\r\n") as (connection, _):
        refused, done = connection.exchange([("SET", "a", "1"), ("SET", "a", "2")])
    assert isinstance(refused, BusyLoadingError)
    assert done == b"OK"


def test_a_command_that_gets_no_answer_is_sent_once(tmp_path: Path) -> None:
    with server(tmp_path) as (connection, received):
        started, stopwatch = time.monotonic(), Stopwatch()
        with pytest.raises(TimeoutError):
            connection.exchange([("SET", "a", "1")])
        assert time.monotonic() - started > 1.9
        assert stopwatch.seconds() < 2.5
    assert b"".join(received).count(b"SET") == 1


@pytest.mark.parametrize("stopped_at", range(3))
def test_answers_that_came_while_this_process_stood_still_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """A process that is stopped and continued finds every deadline passed, and the answers in its socket."""
    now = time.monotonic()
    asked = 0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            nonlocal asked
            asked += 1
            return now + (0 if asked <= stopped_at else 3600)

    with server(tmp_path, b"+1\r\n+2\r\n+3\r\n") as (connection, _):
        monkeypatch.setattr(connections, "time", Clock)
        assert connection.exchange([("PING",)] * 3) == [b"1", b"2", b"3"]
    assert asked >= 3


def test_an_answer_that_came_as_its_time_ran_out_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path, b"+1\r\n") as (connection, _):
        read, times = connection.read, 0

        def late() -> object:
            nonlocal times
            times += 1
            if times == 1:
                assert connection.readable(2)
                raise TimeoutError("this process stood still")
            return read()

        monkeypatch.setattr(connection, "read", late)
        assert connection.exchange([("PING",)]) == [b"1"]


def test_answers_that_come_one_by_one_end_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is in time, and all of them together are not: else a round trip of 256 could take minutes."""
    monkeypatch.setattr(connections, "EXCHANGE_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        left = threading.Event()

        def drip() -> None:
            peer, _ = listener.accept()
            with peer:
                while not left.wait(0.2):
                    peer.sendall(b"+OK\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        connection = Address(f"unix://{tmp_path}/socket").connection()
        connection.connect()
        stopwatch = Stopwatch()
        with pytest.raises(TimeoutError):
            connection.exchange([("PING",)] * 100)
        assert stopwatch.seconds() < 2
        left.set()
        thread.join()
        connection.close()


def test_a_connection_asks_for_nothing_when_it_is_made(tmp_path: Path) -> None:
    with server(tmp_path, b"+PONG\r\n") as (connection, received):
        assert connection.exchange([("PING",)]) == [b"PONG"]
    assert received == [b"*1\r\n$4\r\nPING\r\n"]


def test_half_an_answer_is_waited_for_and_never_skipped(tmp_path: Path) -> None:
    half = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhe"
    with server(tmp_path, b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n" + half, b"llo\r\n") as (connection, _):
        assert not connection.readable(0)
        connection.send("PING")
        assert connection.readable(1)
        assert connection.read() == [b"message", b"c", b"hi"]
        assert connection.readable(0)
        connection.send("PING")
        assert connection.read() == [b"message", b"c", b"hello"]
        assert not connection.readable(0)


async def test_the_end_of_a_connection_is_seen_without_sending(valkey: RedisBackend) -> None:
    connection = Address(valkey.url).connection()
    connection.connect()
    [own] = connection.exchange([("CLIENT", "ID")])
    assert not connection.readable(0)
    valkey.client.client_kill_filter(_id=str(own))
    with pytest.raises(BROKEN):
        connection.readable(1)
    connection.close()


@pytest.mark.parametrize("url", ["http://host", "redis://host:port", "redis://host?socket_timeout=x"])
def test_an_address_that_cannot_be_read_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Address(url)
    assert caught.value.path == "redis.url"
    assert url not in str(caught.value)
