"""Whether a server could listen on a Unix socket: asked without changing anything."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from evanesce.ports import probe
from evanesce.unixsockets import unix_socket


async def test_what_stands_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    bind = f"unix:{path}"
    await probe(bind)
    with pytest.raises(OSError, match="folder of the socket does not exist"):
        await probe(f"unix:{tmp_path}/missing/chat.sock")
    with unix_socket(path, mode=0o600, backlog=1), pytest.raises(OSError, match="in use"):
        await probe(bind)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    await probe(bind)
    assert path.is_socket(), "it is replaced when the server starts, not now"
    path.unlink()
    path.write_text("kept")
    with pytest.raises(OSError, match="something else"):
        await probe(bind)
    assert path.read_text() == "kept"


def test_a_server_that_is_too_busy_to_accept_is_not_gone(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    waiting: list[socket.socket] = []
    with unix_socket(path, mode=0o600, backlog=0):
        try:
            refused = 0
            while refused != errno.EAGAIN:  # until the kernel takes no more
                waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                waiting[-1].setblocking(False)
                refused = waiting[-1].connect_ex(str(path))
            with pytest.raises(OSError, match="in use"), unix_socket(path, mode=0o600, backlog=0):
                pass
        finally:
            for one in waiting:
                one.close()


def test_the_file_of_another_server_that_has_taken_the_name_is_left(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    with unix_socket(path, mode=0o600, backlog=1):
        path.rename(tmp_path / "old")
        path.write_text("other")
    assert sorted(os.listdir(tmp_path)) == ["chat.sock", "old"]
