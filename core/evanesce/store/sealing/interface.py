"""What the message log needs of encryption, without the package that encrypts."""

from __future__ import annotations

from typing import Protocol

from evanesce.model import Draft, Message


class UnknownKey(ValueError):
    """Content was encrypted with the keys of a server that has not shared them yet. `chain` is their name."""

    def __init__(self, chain: str) -> None:
        super().__init__("the key of a message is not known")
        self.chain = chain


class ContentCipher(Protocol):
    """Encrypts the content of messages, and decrypts it."""

    def seal(self, draft: Draft, ttl: int, now: int = 0) -> tuple[Draft, int]:
        """Return a message with its content encrypted, and the latest time at which it may expire.

        The time is in milliseconds of the store's clock: after it there is no key. `ttl` is how long the message will
        live, in milliseconds. `now` is a time that a node of the store has told, if it may be ahead of the others.
        """
        ...

    def open(self, message: Message) -> Message | None:
        """Return a message with its content decrypted; None where its key was overwritten, or the content is not whole.

        Raises `UnknownKey`.
        """
        ...

    async def learn(self, chain: str) -> bool:
        """Wait for a short time until the keys of `chain` are known; return whether they are."""
        ...
