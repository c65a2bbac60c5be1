"""A real Valkey that several servers share: a separate process, which none of them stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.patience import PATIENCE
from tests.redis_versions import server_binary

START_SECONDS = 60.0


class Valkey:
    """A Valkey, which `with` runs. `url` is its address, `client` is connected to it. It writes nothing to disk.

    `options` are settings that it starts with, in addition. `binary` is another server than the tests run on.
    """

    def __init__(
        self,
        environment: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        self._binary = binary or server_binary()
        self._environment = environment or {}
        self._options = options or {}
        self._folder = Path(tempfile.mkdtemp(prefix="valkey-"))  # a short path, because paths of sockets are limited
        self.url = f"unix://{self._folder}/socket"
        self.client: redis.Redis = redis.Redis.from_url(self.url, socket_timeout=PATIENCE)

    def __enter__(self) -> Valkey:
        options = {"port": "0", "unixsocket": f"{self._folder}/socket", "dir": str(self._folder), "save": ""}
        options |= self._options
        command = [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
        environment = os.environ | self._environment
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, env=environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "Valkey does not start"
            time.sleep(0.01)  # there is no event for a new socket
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
        """Return the ids of its connections of a kind, `normal` or `pubsub`, except that of `client`."""
        own = self.client.client_id()
        found: list[dict[str, Any]] = self.client.client_list(_type=kind)
        return [one["id"] for one in found if int(one["id"]) != own]

    def cut(self, connection: str) -> None:
        """Close one of its connections, which may be closed already."""
        self.client.client_kill_filter(_id=connection)

    def set_subscriber_buffer(self, most: int) -> None:
        """Set how many bytes may wait for a subscriber before its connection is closed."""
        self.client.config_set("client-output-buffer-limit", f"pubsub {most} 0 0")

    @property
    def overflows(self) -> int:
        """How many connections it has closed because too much waited for them."""
        return int(self.client.info("stats")["client_output_buffer_limit_disconnections"])
