"""What can go wrong for a client."""

from __future__ import annotations

from typing import Any

from evanesce.errors import EvanesceError


class Unreachable(EvanesceError):
    """No connection could be opened."""


class Disconnected(EvanesceError):
    """The connection was closed or does not answer, so it is unknown whether the command was carried out."""


class Refused(EvanesceError):
    """The server replied with `error`: `code` is that of the protocol, `retry_after` is in seconds."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.code = str(error.get("code", ""))
        self.retry = error.get("retry") is True
        self.retry_after: float | None = error.get("retryAfter")
