"""A small client that follows the protocol, to test the transcripts with: `reference_client.py [--fault NAME] URL`.

It is written apart from the libraries, so that they do not share a misunderstanding. With `--fault` it makes one
mistake, and `test_seeded_faults.py` says which transcript notices it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

from evanesce.room_encryption import CannotOpen, RoomCipher, RoomKey

Fields = dict[str, Any]
FINAL = {1002, 1007, 1009, 4400, 4403}


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def write(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event} | fields), flush=True)


@dataclass(eq=False)
class Sending:
    id: str
    fields: Fields
    ttl: float | None
    first: float | None = None
    in_flight: bool = False


@dataclass(eq=False)
class Room:
    id: str
    invite: str | None
    cipher: RoomCipher | None = None
    encrypted: bool = False
    ttl: float = 60
    cursor: str | None = None
    joined: bool = False
    admitted: bool = False
    resumed: bool = False
    live: dict[str, float] = field(default_factory=dict[str, float])
    given: set[str] = field(default_factory=set[str])
    queue: list[Sending] = field(default_factory=list[Sending])


class Clock:
    def __init__(self, faults: set[str]) -> None:
        self.local = "local_clock" in faults
        self.set(time.time())

    def set(self, server: float) -> None:
        self.server, self.wall, self.monotonic = server, time.time(), time.monotonic()

    def now(self) -> float:
        if self.local:
            return time.time()
        return self.server + max(time.time() - self.wall, time.monotonic() - self.monotonic)


class Client:
    def __init__(self, url: str, faults: set[str], nursery: trio.Nursery) -> None:
        self.url = url.replace("http", "ws", 1) + "/ws"
        self.faults = faults
        self.nursery = nursery
        self.clock = Clock(faults)
        self.rooms: dict[str, Room] = {}
        self.socket: WebSocketConnection | None = None
        self.replies: dict[int, Callable[[Fields], Any]] = {}
        self.reference = 0
        self.sign_in: Fields = {}
        self.credential: Fields | None = None
        self.goodbye: Fields = {}
        self.stopped: Fields | None = None
        self.online = False
        self.user_id = ""
        self.token_ends = 0.0
        self.heard = trio.current_time()
        self.heartbeat = 25.0
        self.again = False

    # The connection

    async def run(self) -> None:
        attempt = 0
        while self.stopped is None:
            write("state", state="connecting")
            self.goodbye, code, reason = {}, 1006, ""
            hinted = next(iter(self.rooms), None) if attempt % 3 != 2 or "keeps_hint" in self.faults else None
            try:
                address = self.url + (f"?roomId={hinted}" if hinted else "")
                options: Fields = {"subprotocols": ["evanesce.v1"], "connect_timeout": 3, "disconnect_timeout": 1}
                options["max_message_size"] = 65_536 if "small_frames" in self.faults else 262_144
                async with open_websocket_url(address, **options) as socket:
                    since = trio.current_time()
                    await self.talk(socket)
                    code, reason = (socket.closed.code, socket.closed.reason or "") if socket.closed else (1006, "")
                    if self.online and trio.current_time() - since > 10:
                        attempt = 0
            except (HandshakeError, OSError):
                pass
            self.lost()
            if self.stopped is None:
                self.decide(code, reason)
            if self.stopped is None:
                write("state", state="offline")
                after = None if "ignores_reconnect_after" in self.faults else self.goodbye.get("reconnectAfter")
                full = 0 if "hurries" in self.faults else random.uniform(0, min(30, 2**attempt))
                full = 1 if "waits_the_same" in self.faults else full
                await trio.sleep(full if after is None else after * random.uniform(1, 1.2))
                attempt += 1
        write("state", state="stopped", **self.stopped)

    def decide(self, code: int, reason: str) -> None:
        final = code in FINAL and "reconnects_after_4403" not in self.faults
        if code == 4401:
            if self.credential is not None and not self.again and "forgets_credential" not in self.faults:
                self.sign_in, self.again = {"credential": self.credential}, True
            else:
                final = True
        if final or (self.goodbye.get("reconnect") is False and code != 4401):
            self.stopped = {"code": code, "reason": reason}

    def lost(self) -> None:
        self.socket, self.online = None, False
        self.replies.clear()
        for room in self.rooms.values():
            room.joined = False
            for sending in room.queue:
                sending.in_flight = False
            if "forgets_unacknowledged" in self.faults:
                room.queue.clear()

    async def talk(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.heard = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep_alive, nursery.cancel_scope)
            nursery.start_soon(self.give_up_without_welcome, nursery.cancel_scope)
            await self.request("hello", self.welcome, **self.sign_in)
            try:
                while True:
                    frame = json.loads(await socket.get_message())
                    self.heard = trio.current_time()
                    await self.take(frame[:1] if "first_of_frame" in self.faults else frame)
            except ConnectionClosed:
                nursery.cancel_scope.cancel()

    async def give_up_without_welcome(self, scope: trio.CancelScope) -> None:
        await trio.sleep(10)
        if not self.online:
            scope.cancel()

    async def keep_alive(self, scope: trio.CancelScope) -> None:
        while "no_heartbeat" not in self.faults:
            before = trio.current_time()
            await trio.sleep(0.2)
            late = trio.current_time() - before > 2
            if not late and before - self.heard < self.heartbeat + min(10, self.heartbeat):
                continue
            await self.request("ping", self.pong)
            asked = trio.current_time()
            await trio.sleep(min(5, self.heartbeat))
            if self.heard < asked:
                scope.cancel()

    async def request(self, kind: str, reply: Callable[[Fields], Any], **fields: Any) -> None:
        self.reference += 1
        self.replies[self.reference] = reply
        await self.transmit({"type": kind, "ref": self.reference} | fields)

    async def transmit(self, fields: Fields) -> None:
        if self.socket is not None:
            try:
                await self.socket.send_message(json.dumps(fields))
            except ConnectionClosed:
                return

    async def take(self, frame: list[Fields]) -> None:
        expired: dict[str, int] = {}
        for event in frame:
            kind, reply = event["type"], self.replies.pop(event.get("ref", 0), None)
            if reply is not None:
                await reply(event)
            elif kind == "goodbye":
                self.goodbye = event
            elif (room := self.rooms.get(event.get("roomId", ""))) is not None:
                if kind == "message":
                    late = self.message(room, event)
                    expired[room.id] = expired.get(room.id, 0) + late
                else:
                    await self.event(room, kind, event)
            elif "dies_of_unknown" in self.faults:
                raise RuntimeError(kind)
        for room_id, count in expired.items():
            if count:
                write("missed", roomId=room_id, count=count, reason="expired")

    async def welcome(self, reply: Fields) -> None:
        if reply["type"] == "error":
            if reply["retry"] and "never_asks_again" not in self.faults and self.socket is not None:
                self.goodbye = {"reconnectAfter": reply.get("retryAfter")}
                await self.socket.aclose(1000)
            elif not (reply["code"] == "invalid_token" and self.credential is not None and not self.again):
                self.stopped = {"code": 4401, "reason": reply["message"]}
            return
        self.clock.set(seconds(reply["serverTime"]))
        self.heartbeat = reply["heartbeat"]
        if "token" in reply:
            self.keep_token(reply)
        self.user_id = reply["userId"]
        if self.online:
            return
        self.online, self.again = True, False
        write("state", state="online")
        for room in list(self.rooms.values()):
            await self.join_room(room)

    def keep_token(self, reply: Fields) -> None:
        if "guest_again" not in self.faults:
            self.sign_in = {"token": reply["token"]}
        self.token_ends = seconds(reply["tokenExpiresAt"])
        self.refresh_later()

    def refresh_later(self) -> None:
        if "never_refreshes" not in self.faults:
            life = self.token_ends - self.clock.now()
            self.nursery.start_soon(self.later, 0.8 * life, self.request, "refresh", self.refreshed)

    async def refreshed(self, reply: Fields) -> None:
        if reply["type"] == "error":
            if "refreshes_once" not in self.faults:
                self.refresh_later()
            return
        self.keep_token(reply)
        await self.request("hello", self.welcome, **self.sign_in)

    async def pong(self, reply: Fields) -> None:
        self.clock.set(seconds(reply["serverTime"]))

    # Rooms

    async def join_room(self, room: Room, since: str | None = None) -> None:
        cursor = since or room.cursor
        fields: Fields = {"roomId": room.id}
        if cursor is not None and "resumes_without_since" not in self.faults:
            fields["since"] = cursor
        if room.invite is not None and (not room.admitted or "invites_again" in self.faults):
            fields["invite"] = room.invite

        async def reply(answer: Fields) -> None:
            await self.joined(room, answer)

        await self.request("join", reply, **fields)

    async def joined(self, room: Room, reply: Fields) -> None:
        if reply["type"] == "error":
            if reply["retry"] or "rejoins_after_ban" in self.faults:
                self.nursery.start_soon(self.later, reply.get("retryAfter", 0.5), self.join_room, room)
                return
            self.left(room, "refused", code=reply["code"])
            return
        told = {key: reply[key] for key in ("roomId", "members", "memberCount", "room") if key in reply}
        write("joined", **told, resumed=room.resumed)
        room.admitted, room.resumed, room.ttl = True, True, reply["room"]["messageTtl"]
        room.encrypted = reply["room"]["encrypted"]
        missed = 0 if reply["missed"] is None and "null_is_zero" in self.faults else reply["missed"]
        if missed != 0:
            write("missed", roomId=room.id, count=missed, reason="resume")
        for message_id in reply["unsent"]:
            self.unsent(room, message_id)
        late = sum(self.message(room, one) for one in reply["messages"])
        if late:
            write("missed", roomId=room.id, count=late, reason="expired")
        if "keeps_old_cursor" not in self.faults:
            room.cursor = reply["cursor"]
        room.joined = True
        await self.pump(room)

    def message(self, room: Room, event: Fields) -> bool:
        """Report a message, and return whether it came too late."""
        room.cursor = event["cursor"]
        message_id, ends = event["messageId"], seconds(event["expiresAt"])
        if message_id in room.given and "doubles" not in self.faults:
            return False
        if ends <= self.clock.now() and "shows_expired" not in self.faults:
            return True
        room.given.add(message_id)
        room.live[message_id] = ends
        write("message", **self.opened(room, event))
        self.nursery.start_soon(self.expire, room, message_id, ends)
        return False

    def opened(self, room: Room, event: Fields) -> Fields:
        fields = {key: value for key, value in event.items() if key not in ("type", "ref")}
        if not room.encrypted or "shows_ciphertext" in self.faults:
            return fields
        try:
            if room.cipher is None:
                raise CannotOpen
            content = room.cipher.open(event["content"], event["senderId"], event["messageId"])
        except CannotOpen:
            return fields | {"content": None, "unreadable": True}
        return fields | {"content": content, "encrypted": True}

    async def expire(self, room: Room, message_id: str, ends: float) -> None:
        while (left := ends - self.clock.now()) > 0:  # noqa: ASYNC110  # the clock may be set meanwhile
            await trio.sleep(left if "trusts_first_clock" in self.faults else min(left, 0.3))
        if room.live.pop(message_id, None) is not None or "expires_unsent" in self.faults:
            write("expired", roomId=room.id, messageId=message_id)
            if "expires_twice" in self.faults:
                write("expired", roomId=room.id, messageId=message_id)

    def unsent(self, room: Room, message_id: str) -> None:
        if "forgets_unsent" not in self.faults:
            if "shows_unsent" not in self.faults:
                room.given.add(message_id)
            room.live.pop(message_id, None)
            write("unsent", roomId=room.id, messageId=message_id)

    async def event(self, room: Room, kind: str, event: Fields) -> None:
        fields = {key: value for key, value in event.items() if key not in ("type", "ref")}
        if kind == "gap":
            if "ignores_gap" not in self.faults:
                await self.join_room(room, event["since"])
        elif kind == "skipped":
            write("missed", roomId=room.id, count=event["count"], reason="skipped")
        elif kind == "unsent":
            self.unsent(room, event["messageId"])
        elif kind in ("room_closed", "removed"):
            write(kind, **fields)
            if kind == "removed" and "stays_after_removed" in self.faults:
                return
            self.left(room, "closed" if kind == "room_closed" else "removed")
        elif kind in KNOWN:
            if kind == "room_updated" and "keeps_old_ttl" not in self.faults:
                room.ttl = event["messageTtl"]
            write(kind, **fields)
        elif "dies_of_unknown" in self.faults:
            raise RuntimeError(kind)

    def left(self, room: Room, reason: str, **fields: Any) -> None:
        if reason != "removed" or "expires_after_removed" not in self.faults:
            room.live.clear()
        self.rooms.pop(room.id, None)
        for sending in room.queue if FORGETTING[reason] not in self.faults else ():
            write("failed", id=sending.id, error="not_sent" if sending.first is None else "outcome_unknown")
        room.queue.clear()
        write("left", roomId=room.id, reason=reason, **fields)

    # Sending

    async def pump(self, room: Room) -> None:
        """Send the first message of the queue, unless one is on its way."""
        waiting = room.queue if "sends_in_parallel" in self.faults else room.queue[:1]
        for sending in waiting:
            if (room.joined or "sends_too_soon" in self.faults) and not sending.in_flight:
                await self.transmit_message(room, sending)

    async def transmit_message(self, room: Room, sending: Sending) -> None:
        if "new_id" in self.faults:
            sending.fields["messageId"] = str(uuid.uuid4())
        if "seals_again" in self.faults and room.cipher is not None:
            ids = (self.user_id, sending.fields["messageId"])
            sending.fields["content"] = room.cipher.seal(room.cipher.open(sending.fields["content"], *ids), *ids)
        sending.in_flight = True
        if sending.first is None:
            sending.first = trio.current_time()
            self.nursery.start_soon(self.give_up, room, sending, "outcome_unknown")

        async def reply(answer: Fields) -> None:
            if answer["type"] == "error" and answer["retry"]:
                after = 0 if "ignores_retry_after" in self.faults else answer.get("retryAfter", 0.3)
                self.nursery.start_soon(self.later, after, self.send_again, room, sending)
                return
            if sending in room.queue:
                room.queue.remove(sending)
                if answer["type"] == "error":
                    write("failed", id=sending.id, error="refused", code=answer["code"])
                else:
                    write("sent", id=sending.id, **{key: answer[key] for key in answer if key not in ("type", "ref")})
            await self.pump(room)

        await self.request("send", reply, **sending.fields)

    async def send_again(self, room: Room, sending: Sending) -> None:
        sending.in_flight = False
        if sending in room.queue:
            await self.pump(room)

    async def give_up(self, room: Room, sending: Sending, error: str) -> None:
        if "never_gives_up" in self.faults:
            return
        await trio.sleep(sending.ttl or room.ttl)
        if sending in room.queue and (error == "outcome_unknown" or sending.first is None):
            room.queue.remove(sending)
            write("failed", id=sending.id, error=error)
            await self.pump(room)

    async def later(self, after: float, call: Callable[..., Any], *arguments: Any) -> None:
        await trio.sleep(after)
        await call(*arguments)

    # The driver's lines

    async def do(self, line: Fields) -> None:
        kind = line.pop("do")
        if kind == "connect":
            self.credential = line.get("credential")
            self.sign_in = line
            self.stopped = None
            self.nursery.start_soon(self.run)
        elif kind == "join":
            cipher = RoomCipher(RoomKey.parse(line["key"]), line["roomId"]) if "key" in line else None
            room = self.rooms[line["roomId"]] = Room(line["roomId"], line.get("invite"), cipher)
            if self.online:
                await self.join_room(room)
        elif kind == "leave":
            await self.leave(self.rooms[line["roomId"]])
        elif kind == "send":
            room = self.rooms[line["roomId"]]
            fields = {"messageId": str(uuid.uuid4())} | {key: line[key] for key in line if key != "id"}
            if room.cipher is not None:
                fields["content"] = room.cipher.seal(fields["content"], self.user_id, fields["messageId"])
            elif room.encrypted and "sends_in_the_clear" not in self.faults:
                write("failed", id=line["id"], error="refused", code="key_missing")
                return
            sending = Sending(line["id"], fields, line.get("ttl"))
            room.queue.append(sending)
            self.nursery.start_soon(self.give_up, room, sending, "not_sent")
            await self.pump(room)
        elif kind == "unsend":
            await self.unsend(**line)
        else:
            self.stopped = {"code": 1000, "reason": ""}
            if self.socket is not None:
                await self.socket.aclose(1000)

    async def leave(self, room: Room) -> None:
        async def reply(answer: Fields) -> None:
            self.left(room, "left")

        self.rooms.pop(room.id)
        if room.joined:
            await self.request("leave", reply, roomId=room.id)
        else:
            await reply({})

    async def unsend(self, id: str, **fields: str) -> None:
        async def reply(answer: Fields) -> None:
            if answer["type"] == "error":
                write("failed", id=id, error="refused", code=answer["code"])
            else:
                write("ok", id=id)

        await self.request("unsend", reply, **fields)


FORGETTING = {
    "closed": "forgets_sends_of_closed",
    "left": "forgets_sends_of_left",
    "refused": "forgets_sends_of_refused",
    "removed": "forgets_sends_of_removed",
}
"""Of a fault: the messages that wait in a room that was left so have no outcome."""

KNOWN = {
    "member_joined",
    "member_left",
    "member_updated",
    "member_count",
    "typing",
    "room_updated",
    "member_muted",
    "vote",
}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("url")
    options = parser.parse_args()
    async with trio.open_nursery() as nursery:
        client = Client(options.url, set(options.fault), nursery)
        async for line in trio.wrap_file(sys.stdin):
            await client.do(json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
