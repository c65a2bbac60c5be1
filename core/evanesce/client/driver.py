"""`python -m evanesce.client.driver URL`: this library for the conformance transcripts.

Commands are lines of JSON on the standard input, events are lines of JSON on the standard output.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from evanesce.client.client import Client
from evanesce.client.errors import Disconnected, KeyMissing, NotSent, OutcomeUnknown, Refused, Stopped
from evanesce.client.events import Event, fields_of
from evanesce.client.room import Room
from evanesce.client.signal import Signal
from evanesce.room_encryption import RoomKey

Line = dict[str, Any]


def write(event: Event, **more: Any) -> None:
    """Write an event as a line."""
    fields = fields_of(event)
    print(json.dumps({"event": fields.pop("type")} | fields | more), flush=True)


class Driver:
    """One client, and the tasks of what it does."""

    def __init__(self, url: str, nursery: trio.Nursery) -> None:
        self._url = url
        self._nursery = nursery
        self._client: Client | None = None
        self._running = trio.CancelScope()
        self._rooms: dict[str, Room] = {}
        self._anew = Signal()

    async def do(self, line: Line) -> None:
        """Carry out a command, or begin with it."""
        match line.pop("do"), self._client:
            case "connect", None:
                self._client = Client(self._url, on_state=write, **line)
                self._nursery.start_soon(self._run, self._client)
            case "connect", Client() as client:
                client.sign_in_anew(**line)
                self._anew.set()
            case "join", Client() as client:
                key = RoomKey.parse(line["key"]) if "key" in line else None
                room = self._rooms[line["roomId"]] = client.enter(line["roomId"], invite=line.get("invite"), key=key)
                self._nursery.start_soon(self._read, room)
            case "leave", _:
                await self._rooms[line["roomId"]].leave()
            case "close", _:
                self._running.cancel()
            case kind, _:
                self._nursery.start_soon(self._try, kind, self._rooms[line["roomId"]], line)

    async def _run(self, client: Client) -> None:
        with self._running:
            await client.run()

    async def _read(self, room: Room) -> None:
        while room.state != "left":
            try:
                async for event in room:
                    write(event)
            except Stopped:
                await self._anew.wait()

    async def _try(self, kind: str, room: Room, line: Line) -> None:
        failed: Line = {"event": "failed", "id": line["id"]}
        try:
            if kind == "unsend":
                await room.unsend(line["messageId"])
                return
            options = {"ttl": line.get("ttl"), "reply_to": line.get("replyTo"), "message_id": line.get("messageId")}
            write(await room.send(line["content"], **options), id=line["id"])
            return
        except (Refused, KeyMissing) as error:
            failed |= {"error": "refused", "code": error.code}
        except (OutcomeUnknown, Disconnected, Stopped):
            failed["error"] = "outcome_unknown"
        except NotSent:
            failed["error"] = "not_sent"
        print(json.dumps(failed), flush=True)


async def main(url: str) -> None:
    """Run until the end of the input."""
    async with trio.open_nursery() as nursery:
        driver = Driver(url, nursery)
        async for line in trio.wrap_file(sys.stdin):
            await driver.do(json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
