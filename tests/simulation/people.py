"""People in a simulation: they come and go, talk, lose their connections and read slowly, each by a seeded chance."""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from tests.promises.client import PromiseClient
from tests.promises.ledger import Ledger

MOST_ROOMS = 3
"""How many rooms somebody is in at once."""

REPLY_SECONDS = 20.0
"""How long the reply to a command may take, whatever is out of order."""

OFFLINE_SECONDS, ONLINE_SECONDS, ACT_SECONDS = 2_400.0, 3_600.0, 400.0
"""How long people are away, how long they stay, and how much time is between two acts, on average."""

TRIES = 5
"""How often a message is sent that was not acknowledged."""

ACTS = {
    "send": 60,
    "typing": 8,
    "unsend": 6,
    "members": 4,
    "join again": 4,
    "leave": 4,
    "stall": 4,
    "drop": 4,
    "rename": 2,
    "hang up": 2,
    "sign out": 1,
    "create room": 1,
    "close room": 0.5,
    "change rules": 8,
    "vote": 2,
}
"""How likely each act is. Who has created no room changes no rules."""

RULES = {
    "update_room": 6,
    "invite": 4,
    "remove_member": 3,
    "mute": 3,
    "revoke_invite": 1,
    "unban": 1,
    "invites": 1,
    "bans": 1,
}
"""How likely each change of the rules of a room is."""

TTLS = (5.0, 20.0, 60.0, 120.0)
"""How long messages live, as creators choose, in seconds."""


class Gate:
    """Open while people act. While it is closed nothing new begins.

    `busy` is how many acts have not ended yet, and `slept_at` when the machine was last asleep.
    """

    def __init__(self) -> None:
        self.busy = 0
        self.slept_at = -math.inf
        self._open = trio.Event()
        self._open.set()

    def close(self) -> None:
        self._open = trio.Event()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        await self._open.wait()


class Person:
    """One person, with one connection at a time."""

    def __init__(
        self,
        name: str,
        chance: random.Random,
        *,
        connect: Callable[[PromiseClient], None],
        gate: Gate,
        ledger: Ledger,
        rooms: list[str],
        invites: dict[str, list[str]],
        broken: list[str],
        tally: Counter[str],
        trace: Callable[[str, bytes], None],
    ) -> None:
        self.client: PromiseClient | None = None
        self._name = name
        self._chance = chance
        self._connect = connect
        self._gate = gate
        self._ledger = ledger
        self._rooms = rooms
        self._invites = invites  # the secrets of all invites, by room
        self._broken = broken
        self._tally = tally
        self._trace = trace
        self._token: str | None = None
        self._cursors: dict[str, str] = {}
        self._sent: list[tuple[str, str]] = []
        self._own: list[str] = []

    async def live(self) -> None:
        """Come and go, until cancelled."""
        await self._rest(OFFLINE_SECONDS / 4)
        while True:
            await self._act(self._arrive)
            until = trio.current_time() + self._chance.expovariate(1 / ONLINE_SECONDS)
            while self._is_here and trio.current_time() < until:
                await self._rest(ACT_SECONDS)
                await self._act(self._do_something)
            if self._is_here:
                await self._act(self._hang_up)
            self._cursors |= {} if self.client is None else self.client.cursors
            # Most who lose their connection come back at once.
            await self._rest(2.0 if trio.current_time() < until else OFFLINE_SECONDS)

    async def _rest(self, seconds: float) -> None:
        await trio.sleep(self._chance.expovariate(1 / seconds))
        await self._gate.passed()

    async def _act(self, act: Callable[[], Any]) -> None:
        self._gate.busy += 1
        try:
            await act()
        finally:
            self._gate.busy -= 1

    @property
    def _is_here(self) -> bool:
        return self.client is not None and self.client.open

    async def _ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command; return its reply, or nothing where the connection ended before."""
        client = self.client
        assert client is not None
        ref = client.command(type, **fields)
        while True:
            since = trio.current_time()
            with trio.move_on_after(REPLY_SECONDS) as patience:
                reply = await client.answer_to(ref) or {}
            if not patience.cancelled_caught:
                break
            if self._gate.slept_at < since:  # else the machine was asleep, and nothing could be answered
                if not client.stalled:
                    self._broken.append(f"{client.name}: no reply to {type} in {REPLY_SECONDS} s")
                return {}
        self._tally[f"{type}: {reply.get('code', reply.get('type', 'no answer'))}"] += 1
        return reply

    # What people do

    async def _arrive(self) -> None:
        self.client = client = PromiseClient(self._name, self._ledger, self._broken, trace=self._trace)
        self._connect(client)
        if not client.open:
            return
        hello: dict[str, Any] = {"credential": {"provider": "name", "name": self._name}}
        if self._token is not None and self._chance.random() < 0.8:
            hello = {"token": self._token}
        welcome = await self._ask("hello", **hello)
        if welcome.get("type") != "welcome":
            self._token = None
            return
        self._token = client.token or self._token
        sample = self._chance.sample(self._rooms, min(len(self._rooms), MOST_ROOMS))
        for room_id in dict.fromkeys([*self._own[-1:], *sample]):
            await self._join(room_id)

    async def _join(self, room_id: str) -> None:
        since = self._cursors.get(room_id) if self._chance.random() < 0.9 else None
        if self._is_here:
            secrets = self._invites.get(room_id, [])
            invite = self._chance.choice(secrets) if secrets and self._chance.random() < 0.5 else None
            await self._ask("join", roomId=room_id, since=since, invite=invite)

    async def _hang_up(self) -> None:
        if self.client is not None:
            self.client.hang_up()
        await trio.lowlevel.checkpoint()

    async def _do_something(self) -> None:
        client = self.client
        if client is None or not client.open:
            return
        [act] = self._chance.choices(list(ACTS), list(ACTS.values()))
        room_id = self._chance.choice(list(client.rooms)) if client.rooms else None
        match act:
            case "stall":
                await self._stall(client)
            case "drop" | "hang up":
                await self._hang_up()
            case "rename":
                await self._ask("update_profile", displayName=f"{self._name} {self._chance.randrange(100)}")
            case "sign out":
                self._token = None
                await self._ask("sign_out")
            case "create room":
                await self._create_room()
            case "close room" if self._own:
                await self._close_room()
            case "change rules" if self._own:
                await self._change_rules(client)
            case _ if room_id is None:
                if self._rooms:
                    await self._join(self._chance.choice(self._rooms))
            case "send":
                await self._send(room_id)
            case "unsend" if self._sent:
                room_id, message_id = self._sent.pop()
                await self._ask("unsend", roomId=room_id, messageId=message_id)
            case "join again":
                await self._ask("join", roomId=room_id, since=client.rooms[room_id].cursor)
            case "leave":
                await self._ask("leave", roomId=room_id)
                self._cursors |= client.cursors
                await self._join(self._chance.choice(self._rooms)) if self._rooms else None
            case "vote":
                await self._vote(client, room_id)
            case "typing" | "members":
                await self._ask(act, roomId=room_id)
            case _:
                pass

    async def _send(self, room_id: str) -> None:
        """Send a burst of messages; send what was not acknowledged again with the same id."""
        for _ in range(self._chance.choice([1, 1, 1, 2, 5])):
            message_id = str(uuid.uuid4())
            content = "x" * self._chance.randrange(1, 200)
            ttl = self._chance.choice(TTLS) if self._chance.random() < 0.1 else None
            answered = self._sent[-1][1] if self._sent and self._chance.random() < 0.1 else None
            for _ in range(TRIES):
                if not self._is_here:
                    return
                sent = await self._ask(
                    "send", roomId=room_id, content=content, messageId=message_id, ttl=ttl, replyTo=answered
                )
                if sent.get("type") == "sent":
                    self._sent = [*self._sent[-9:], (room_id, message_id)]
                    break
                if not sent.get("retry"):
                    break
                await trio.sleep(sent.get("retryAfter", 1.0))

    async def _stall(self, client: PromiseClient) -> None:
        """Read nothing for a while, and answer no pings."""
        client.stalled, client.answers_pings = True, False
        with trio.move_on_after(self._chance.expovariate(1 / 20)):
            await client.ended()
        client.answers_pings = True
        if client.open:
            client.take()

    async def _create_room(self) -> None:
        room = await self._ask("create_room", **self._options())
        if room.get("type") == "room":
            self._rooms.append(room["roomId"])
            self._own.append(room["roomId"])
            await self._join(room["roomId"])

    async def _close_room(self) -> None:
        room_id = self._own[0]
        closed = await self._ask("close_room", roomId=room_id)
        if closed.get("type") == "ok" or closed.get("code") == "room_not_found":
            self._own.remove(room_id)
            if room_id in self._rooms:
                self._rooms.remove(room_id)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._chance.random() < 0.3:
            options["messageTtl"] = self._chance.choice(TTLS)
        if self._chance.random() < 0.3:
            options["access"] = self._chance.choice(["link", "invite"])
        return options

    async def _change_rules(self, client: PromiseClient) -> None:
        """Do what only the creator of a room may: where others are present, if there is such a room."""
        together = [room for room in self._own if room in client.rooms and len(client.rooms[room].roster) > 1]
        room_id = self._chance.choice(together or self._own)
        [act] = self._chance.choices(list(RULES), list(RULES.values()))
        members = list(client.rooms[room_id].roster) if room_id in client.rooms else []
        person = self._chance.choice(members) if members else client.user_id
        match act:
            case "update_room":
                locked = self._chance.choice([True, False, False]) if self._chance.random() < 0.5 else None
                await self._ask(act, roomId=room_id, locked=locked, **self._options())
            case "invite":
                invite = await self._ask(act, roomId=room_id, people=self._chance.choice([1, 3, 50]))
                if invite.get("type") == "invite":
                    secrets = self._invites.setdefault(room_id, [])
                    secrets.append(invite["link"].partition("#invite=")[2])
            case "revoke_invite":
                invites = await self._ask("invites", roomId=room_id)
                if self._is_here and invites.get("invites"):
                    await self._ask(act, roomId=room_id, inviteId=invites["invites"][0]["inviteId"])
            case "remove_member":
                await self._ask(act, roomId=room_id, userId=person, banSeconds=self._chance.choice([None, 0, 60, 3600]))
            case "mute":
                await self._ask(act, roomId=room_id, userId=person, seconds=self._chance.choice([0, 10, 120, 3600]))
            case "unban":
                bans = await self._ask("bans", roomId=room_id)
                if self._is_here and bans.get("bans"):
                    await self._ask(act, roomId=room_id, userId=bans["bans"][0]["userId"])
            case _:
                await self._ask(act, roomId=room_id)

    async def _vote(self, client: PromiseClient, room_id: str) -> None:
        """Vote on the first other member, as everybody does, so that votes come together."""
        others = [user_id for user_id in client.rooms[room_id].roster if user_id != client.user_id]
        if others:
            await self._ask("vote_remove", roomId=room_id, userId=min(others))
