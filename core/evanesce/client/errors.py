"""What can go wrong for a client.

EvanesceError
├── Unreachable        no connection could be opened
├── Disconnected       the connection was lost: whether the command was carried out is unknown
├── Refused            the server replied with `error`
├── Stopped            the client does not connect any more, until the application signs in anew
├── NotSent            a message was never given to the network
├── OutcomeUnknown     a message was given to the network, and there was no answer in its time
└── KeyMissing         the room is encrypted, and the client has no key of it
"""

from __future__ import annotations

from typing import Any

from evanesce.errors import EvanesceError

NOT_THE_PROTOCOL = "the server sent what is not the protocol"


class Unreachable(EvanesceError):
    """No connection could be opened."""


class Disconnected(EvanesceError):
    """The connection was closed or does not answer, so it is unknown whether the command was carried out."""


class Refused(EvanesceError):
    """The server replied with `error`: `code` is that of the protocol, `retry_after` is in seconds.

    `field` is the field of the command that is wrong, and `retry` says whether the same command can succeed later.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.code = str(error.get("code", ""))
        self.field: str | None = error.get("field")
        self.retry = error.get("retry") is True
        self.retry_after = number(error.get("retryAfter"))


class Stopped(EvanesceError):
    """The client does not connect any more. `code` is a close code, or the code of the error that refused `hello`."""

    def __init__(self, code: int | str, reason: str) -> None:
        super().__init__(reason or f"the connection was closed with code {code}")
        self.code = code
        self.reason = reason


class NotSent(EvanesceError):
    """A message was never given to the network, so nobody has it. The text says why."""


class OutcomeUnknown(EvanesceError):
    """A message was given to the network at least once, and there was no answer in its time.

    Whether the others have received it is unknown. `message_id` is the id with which it was sent.
    """

    def __init__(self, message_id: str) -> None:
        super().__init__("there was no answer in time: the message may have been sent or not")
        self.message_id = message_id


class KeyMissing(EvanesceError):
    """The room is encrypted, and the client has no key of it: it cannot send."""

    code = "key_missing"

    def __init__(self) -> None:
        super().__init__("the room is encrypted, and there is no key: join with the whole link")


def number(value: object) -> float | None:
    """Return a number that a server has sent; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
