"""The conversation of an audit: two people send every kind of canary through a running deployment."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.traces import Traces
from evanesce.client.connection import Connection, Fields
from evanesce.client.errors import Disconnected, Refused, Unreachable
from evanesce.errors import CloseCode, EvanesceError
from evanesce.model import milliseconds

SECONDS = 60.0
"""How long it may take to send all canaries, beside what the rate limits of the server demand, which is included."""

FORGET_SECONDS = 10.0
"""How long it may take to erase the accounts of the audit."""

TOKEN = "EVANESCE_TOKEN"
"""The environment variable with the token of an account, for a server without guests."""

_WIDE = "\N{OGHAM SPACE MARK}𐍈"  # Python keeps a text with such characters with 4 bytes for each


class AuditFailed(EvanesceError):
    """The audit cannot be made. The text says why, and what the deployer can do."""


class Conversation:
    """The audit's two people, who are connected as long as `open` lasts. `url` is the server's WebSocket address.

    With `token`, one of the two is the account of that token, which keeps its name and is not erased.
    """

    def __init__(self, url: str, canaries: Canaries, traces: Traces, token: str | None) -> None:
        self._url = url
        self._canaries = canaries
        self._traces = traces
        self._given = token
        self._tokens: list[str] = []  # of the guests that the audit has created
        self._nursery: trio.Nursery | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, canaries: Canaries, traces: Traces, token: str | None
    ) -> AsyncGenerator[Conversation, None]:
        """Run the connections while the context lasts. At its end the accounts of the audit are erased."""
        conversation = cls(url, canaries, traces, token)
        async with trio.open_nursery() as nursery:
            conversation._nursery = nursery
            try:
                yield conversation
            finally:
                with trio.move_on_after(FORGET_SECONDS, shield=True):
                    await conversation._forget_quietly()
                nursery.cancel_scope.cancel()

    async def send_all(self) -> None:
        """Send all canaries, those of live messages last. Raises `AuditFailed`."""
        try:
            with trio.fail_after(SECONDS):
                await self._send_all()
        except trio.TooSlowError:
            raise AuditFailed(
                f"the canaries could not be sent within {SECONDS:g} s: the server is too slow, or its rate limits are"
                " too narrow for an audit. Try again when it is less busy"
            ) from None
        except Unreachable as error:
            raise AuditFailed(
                f"cannot reach {self._url}: {error}. Start the server, or correct server.public_url"
            ) from None
        except Disconnected as error:
            raise AuditFailed(f"the server ended the connection of the audit: {error}. See its log") from None

    async def forget(self) -> bool:
        """Erase the accounts that the audit has created, and return whether there were any. Raises `AuditFailed`."""
        created = bool(self._tokens)
        try:
            with trio.fail_after(FORGET_SECONDS):
                while self._tokens:
                    client = await self._connect()
                    await client.request({"type": "hello", "token": self._tokens[0]})
                    await client.request({"type": "forget_me"})
                    self._tokens.pop(0)
        except (Unreachable, Disconnected, Refused, trio.TooSlowError) as error:
            why = str(error) or f"no answer within {FORGET_SECONDS:g} s"
            raise AuditFailed(
                f"the accounts of the audit could not be erased: {why}. They are guests, which the server erases after"
                " retention.guest_days"
            ) from None
        return created

    async def _forget_quietly(self) -> None:
        """Erase the accounts where the audit has failed: the failure is told, and guests are erased after a day."""
        try:
            await self.forget()
        except AuditFailed:
            return

    # Connections

    async def _connect(self) -> Connection:
        """Open a connection, whose events are read and dropped."""
        assert self._nursery is not None, "open runs the connections"
        client = await Connection.open(self._nursery, self._url)
        self._nursery.start_soon(_drop_events, client)
        return client

    async def _sign_in(self, name: str) -> tuple[Connection, Fields]:
        """Sign in as a guest."""
        client = await self._connect()
        hello = {"type": "hello", "credential": {"provider": "guest", "displayName": name}}
        try:
            welcome = await self._ask(client, hello)
        except Refused as error:
            if error.code != "unknown_provider":
                raise AuditFailed(f"the server refuses the guests of the audit: {error}") from None
            raise AuditFailed(
                "this server has no sign-in for guests, and the audit cannot use another one by itself. Sign in, and"
                f" set the environment variable {TOKEN} to the token of that account"
            ) from None
        self._tokens.append(welcome["token"])
        return client, welcome

    async def _sign_in_both(self) -> tuple[tuple[Connection, Fields], tuple[Connection, Fields] | None]:
        """Sign in both people. The second one is None for a server without guests."""
        name = f"Audit {self._canaries.text(Kind.NAME)}"
        if self._given is None:
            return await self._sign_in(name), await self._sign_in(f"{name} 2")
        client = await self._connect()
        try:
            welcome = await self._ask(client, {"type": "hello", "token": self._given})
        except Refused as error:
            raise AuditFailed(f"the server refuses the token in {TOKEN}: {error}. Sign in again") from None
        self._traces.skipped.append(f"names and mail addresses of the account in {TOKEN}: they are not changed")
        try:
            return (client, welcome), await self._sign_in(name)
        except AuditFailed:
            self._traces.skipped.append("a conflict between two people: there is one account only")
            return (client, welcome), None

    # The canaries

    async def _send_all(self) -> None:
        (ana, welcome), second = await self._sign_in_both()
        token = self._given or welcome["token"]
        if self._given is None:
            await self._name(ana)
        room = await self._ask_or_fail(ana, {"type": "create_room"})
        self._traces.room_id = room["roomId"]
        for client in (ana, *((second[0],) if second else ())):
            await self._ask_or_fail(client, {"type": "join", "roomId": room["roomId"]})
        await self._type(ana)
        await self._be_refused(ana, welcome, token)
        await self._send_unsent(ana)
        await self._send_messages(ana, second[0] if second else None)

    async def _name(self, client: Connection) -> None:
        """Change the name, and set a mail address."""
        mail = f"{self._canaries.text(Kind.MAIL)}@example.org"
        name = f"Renamed {self._canaries.text(Kind.NAME)}"
        await self._ask_or_fail(client, {"type": "update_profile", "displayName": name, "email": mail})

    async def _type(self, client: Connection) -> None:
        canary = self._canaries.text(Kind.TYPING)
        await client.send({"type": "typing", "roomId": self._traces.room_id, "text": canary, "ref": canary})

    async def _be_refused(self, client: Connection, welcome: Fields, token: str) -> None:
        """Send what the server has to refuse."""
        room_id, text = self._traces.room_id, self._canaries.text(Kind.REJECTED)
        refused: list[Fields] = [
            {"type": "send", "roomId": str(uuid.uuid4()), "content": text},
            {"type": "send", "roomId": room_id, "content": text, "messageId": text},
            {"type": "send", "roomId": text, "content": text},
            {"type": text, "content": text},
            {"type": "challenge", "provider": text},
            {"type": "update_profile", "email": text},
        ]
        for command in refused:
            await self._ask_refused(client, command)
        await client.send_text('{"type":"send","content":"' + text)
        limits: Fields = welcome["limits"]
        long = self._filled(limits["contentBytes"] + 1)
        await self._ask_refused(client, {"type": "send", "roomId": room_id, "content": long})
        await self._send_oversized_frame(limits["frameBytes"], token)

    async def _send_oversized_frame(self, most: int, token: str) -> None:
        """Send a frame above the limit on a connection of its own, which the server closes."""
        client = await self._connect()
        await self._ask_or_fail(client, {"type": "hello", "token": token})
        try:
            await client.send_text(self._filled(most + 1))
            await client.request({"type": "ping"})
        except Disconnected:
            pass
        closed = client.close_reason
        if closed is None or closed.code not in (CloseCode.TOO_LARGE, 1006):  # a reset may overtake the close frame
            self._traces.skipped.append("a frame above the limit: the server has not refused it")
        await client.aclose()

    async def _send_unsent(self, client: Connection) -> None:
        message = self._message(Kind.UNSENT)
        await self._ask_or_fail(client, message)
        await self._ask_or_fail(client, message | {"type": "unsend"})
        self._traces.unsent.append(message["messageId"])

    async def _send_messages(self, ana: Connection, ben: Connection | None) -> None:
        """Send live messages, and others under the id of one of them."""
        last: Fields = {}
        for text in ("", _WIDE):
            message = self._message(Kind.SENT, text)
            last = await self._ask_or_fail(ana, message)
            self._traces.sent.append(message["messageId"])
        other = self._message(Kind.CONFLICTING) | {"messageId": self._traces.sent[-1]}
        await self._ask_or_fail(ana, other)  # answered as a duplicate
        if ben is not None:
            await self._ask_refused(ben, other)
        pong = await self._ask(ana, {"type": "ping"})
        self._traces.ends = (
            trio.current_time() + (milliseconds(last["expiresAt"]) - milliseconds(pong["serverTime"])) / 1000
        )

    def _message(self, kind: Kind, more: str = "") -> Fields:
        content = f"canary {self._canaries.text(kind)} {more}"
        return {
            "type": "send",
            "roomId": self._traces.room_id,
            "messageId": str(uuid.uuid4()),
            "content": content,
        }

    def _filled(self, size: int) -> str:
        """Return a text of `size` bytes with a canary at its beginning and at its end."""
        canary = self._canaries.text(Kind.OVERSIZED)
        return canary + "x" * (size - 2 * len(canary)) + canary

    # Requests

    async def _ask(self, client: Connection, command: Fields) -> Fields:
        """Send a command, and return its reply. Wait where a rate limit demands it. Raises `Refused`."""
        while True:
            try:
                return await client.request(command)
            except Refused as error:
                if error.code != "rate_limited":
                    raise
                await trio.sleep(error.retry_after or 1.0)

    async def _ask_or_fail(self, client: Connection, command: Fields) -> Fields:
        """Return the reply to a command that a server accepts. Raises `AuditFailed`."""
        try:
            return await self._ask(client, command)
        except Refused as error:
            raise AuditFailed(f"the server refuses {command['type']}, {error.code}: {error}") from None

    async def _ask_refused(self, client: Connection, command: Fields) -> None:
        """Send a command that a server refuses."""
        try:
            await self._ask(client, command)
        except Refused:
            return
        kind = command["type"] if command["type"] in ("send", "challenge", "update_profile") else "an unknown command"
        self._traces.skipped.append(f"a refused command: the server has accepted {kind}")


async def _drop_events(client: Connection) -> None:
    """Read the events of a connection until it ends: nothing is waited for there."""
    async for _ in client.events:
        pass
