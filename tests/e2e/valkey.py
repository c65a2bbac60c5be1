"""A real Valkey for several servers: a process of its own, which none of them ends."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from evanesce.store.embedded import valkey_binary

START_SECONDS = 10.0


class Valkey:
    """Started by `with`; `url` is its address, `client` looks at it from outside. It keeps nothing on disk."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="valkey-"))  # a short path, as that of a socket has to be
        self.url = f"unix://{self._folder}/socket"
        self.client: redis.Redis = redis.Redis.from_url(self.url, socket_timeout=5)

    def __enter__(self) -> Valkey:
        binary = str(valkey_binary())
        options = {"port": "0", "unixsocket": f"{self._folder}/socket", "dir": str(self._folder), "save": ""}
        command = [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "Valkey does not start"
            time.sleep(0.01)  # nothing tells that its socket is there
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._folder)

    def connections(self, kind: str) -> list[str]:
        """Give the ids of its connections of a kind, `normal` or `pubsub`, but for the one that asks."""
        own = self.client.client_id()
        found: list[dict[str, Any]] = self.client.client_list(_type=kind)
        return [one["id"] for one in found if int(one["id"]) != own]

    def cut(self, connection: str) -> None:
        """End one of its connections, which may have ended by itself."""
        self.client.client_kill_filter(_id=connection)

    def keep_for_subscribers(self, most: int) -> None:
        """Set how many bytes may wait for a subscriber before its connection is ended."""
        self.client.config_set("client-output-buffer-limit", f"pubsub {most} 0 0")

    @property
    def overflows(self) -> int:
        """How many connections it has ended for what waited for them."""
        return int(self.client.info("stats")["client_output_buffer_limit_disconnections"])
