"""What the task of a plugin may do with the running server."""

from __future__ import annotations

from typing import Protocol

from evanesce.interfaces.authentication import Caller
from evanesce.interfaces.http import HttpRequest


class SharedLimits(Protocol):
    """Token buckets of one plugin, counted over all servers that share the Redis."""

    async def take(self, key: str, rate: float, burst: int) -> float:
        """Take a token: return 0, or, where there is none, in how many seconds there is one: nothing is taken.

        A bucket holds up to `burst` tokens (1 to 10,000), gains `rate` a second (one a year to 10,000), and is full
        when it is used for the first time. `key` names the bucket among those of this plugin: 1 to 256 characters; use
        one rate and one burst with each key. Only a hash of the key is stored. Takes 0.2 s at most. A server takes some
        tokens in advance, so at one moment each server may grant a fourth of a burst more, rounded down: none with a
        burst below 4. While Redis does not answer, each server counts alone. Raises `ValueError` for other arguments.
        """
        ...


class SharedMarks(Protocol):
    """Marks of one plugin, which all servers that share the Redis have in common. Each can be taken once."""

    async def put(self, key: str, seconds: float) -> None:
        """Keep a mark for some seconds (0.001 to 86,400). One that is there already is replaced.

        `key` names the mark among those of this plugin: 1 to 256 characters, of which only a hash is stored. Raises
        `ValueError` for other arguments.
        """
        ...

    async def take(self, key: str) -> bool:
        """Remove a mark, and return whether it was there. Of several callers, on any servers, only one gets it."""
        ...


class Server(Protocol):
    """The running server, for the task of one plugin. Its methods may also be called from the plugin's other hooks.

    A call takes 10 s at most, and at most 10 calls of a plugin run at the same time; others wait within their time.
    Every `async` method but those of `shared` raises `CommandError`, with the codes of docs/reference/errors.md: for
    example `room_not_found`, `rate_limited` with `retry_after`, or `store_unavailable`.
    """

    @property
    def shared(self) -> SharedLimits:
        """Rate limits that all servers share."""
        ...

    @property
    def marks(self) -> SharedMarks:
        """Marks that all servers share."""
        ...

    def count_dropped(self, events: int) -> None:
        """Count events that the plugin has received, and cannot pass on, in the metric of dropped events.

        Raises `ValueError` if `events` is negative.
        """
        ...

    async def say(self, room_id: str, text: str, *, name: str, ttl: float | None = None) -> str:
        """Send a message to a room as a service, and return its id.

        It is a message like any other: filters receive it, it has the room's time to live, or `ttl` seconds if that is
        shorter, and the limits of content. A plugin may send as many messages as a user, over all servers and rooms. An
        encrypted room refuses a text that its members could not decrypt.

        No account has the `senderId`, which is `service:` and the name of the plugin. The `senderName` is `name` with
        ` (service)` behind it, which no person may have; `name` follows the rules of display names, and has up to 54
        characters.

        A filter or an observer that answers every message this way answers its own too: let it leave out the messages
        whose `sender_id` begins with `service:`. In a filter, this call counts towards the 2 s of the filter.
        """
        ...

    async def close_room(self, room_id: str) -> None:
        """Close a room, and erase its messages, as its creator could."""
        ...

    async def remove_member(self, room_id: str, user_id: str, *, ban_seconds: float = 0) -> None:
        """Remove a person from a room, as its creator could, and ban them for `ban_seconds` (0 to 31,536,000).

        The person need not be in the room. Raises `bad_request` for the creator of the room.
        """
        ...

    async def caller(self, request: HttpRequest) -> Caller:
        """Return who sent a request to a route of this plugin, as its authenticator receives callers.

        Raises `unauthenticated` for a request without a token, and `invalid_token`. `Caller.local` is False. Raises
        `RuntimeError` for a plugin without an authenticator.
        """
        ...
