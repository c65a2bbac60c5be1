"""A server whose every number is its least, or its greatest: it starts, and people are served."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.config.test_every_value import bounds
from tests.e2e.running import TRANSPORTS, Server


@pytest.mark.parametrize("end", ["least", "greatest"])
def test_a_server_at_the_bounds_of_every_number_serves(serve: Callable[..., Server], end: str) -> None:
    server = serve(*bounds(end), transports=TRANSPORTS)
    account = server.sign_in("Ana")
    room = server.open_room(account["token"])
    status, found = server.ask("GET", f"/api/v1/rooms/{room['roomId']}", token=account["token"])
    assert (status, found["roomId"]) == (200, room["roomId"])
    assert server.ask("GET", "/readyz")[0] == 200
    assert "Traceback" not in server.errors
    assert " ERROR " not in server.errors
