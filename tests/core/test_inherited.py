"""The listening sockets that a process inherits: which descriptors count, and which socket is which bind's."""

from __future__ import annotations

import os
import socket

import pytest

from evanesce.errors import ConfigurationError
from evanesce.inherited import InheritedSockets, passed_descriptors


@pytest.mark.parametrize(
    ("environment", "descriptors"),
    [
        ({}, ()),
        ({"LISTEN_FDS": "2"}, ()),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "8"}, ()),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "7"}, (3, 4)),
        ({"LISTEN_PID": "7"}, ()),
        ({"EVANESCE_LISTEN_FDS": "3,5", "LISTEN_FDS": "9", "LISTEN_PID": "1"}, (3, 5)),
    ],
)
def test_the_descriptors_that_are_passed(environment: dict[str, str], descriptors: tuple[int, ...]) -> None:
    assert passed_descriptors(environment, pid=7) == descriptors


@pytest.mark.parametrize("number", ["-1", "65", "99999999999", "two", ""])
def test_a_number_that_cannot_be_right_is_refused(number: str) -> None:
    with pytest.raises(ConfigurationError, match="LISTEN_FDS"):
        passed_descriptors({"LISTEN_FDS": number, "LISTEN_PID": "7"}, pid=7)


def test_a_bind_finds_its_socket_and_the_rest_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        inherited = InheritedSockets((one.fileno(), other.fileno()))
        assert inherited.find(socket.AF_INET6, one.getsockname()) is None
        found = inherited.find(socket.AF_INET, one.getsockname())
        assert found is not None
        with found:
            assert found.fileno() != one.fileno()
            assert found.getsockname() == one.getsockname()
            assert inherited.holds(found.fileno())
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{other.getsockname()[1]}, which is no bind of"):
            inherited.refuse_unused()
        again = inherited.find(socket.AF_INET, other.getsockname())
        assert again is not None
        again.close()
        inherited.refuse_unused()


def test_anything_but_a_listening_socket_is_refused() -> None:
    with socket.socket() as silent, socket.socket(type=socket.SOCK_DGRAM) as datagrams, open(os.devnull) as file:
        for one in (silent, datagrams, file):
            with pytest.raises(ConfigurationError, match="not a listening stream socket"):
                InheritedSockets((one.fileno(),))
    with pytest.raises(ConfigurationError, match="not a listening stream socket"):
        InheritedSockets((10_000,))
