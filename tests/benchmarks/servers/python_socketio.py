"""python-socketio on uvicorn: rooms whose members are told what one of them says. Arguments: port, Redis' socket."""

from __future__ import annotations

import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import socketio
import uvicorn

TTL = 60.0


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main(port: int, redis: str) -> None:
    manager = socketio.AsyncRedisManager(f"unix://{redis}") if redis else None
    server = socketio.AsyncServer(
        async_mode="asgi", client_manager=manager, transports=["websocket"], ping_interval=3600, ping_timeout=3600
    )
    told = 0

    async def join(sid: str, room: str) -> str:
        await server.enter_room(sid, room)
        return "joined"

    async def leave(sid: str, room: str) -> str:
        await server.leave_room(sid, room)
        return "left"

    async def send(sid: str, room: str, content: str) -> dict[str, Any]:
        nonlocal told
        now = time.time()
        told += 1
        stored = {"messageId": str(uuid.uuid4()), "createdAt": _time(now), "expiresAt": _time(now + TTL)}
        message = {"type": "message", "roomId": room, "senderId": sid, "senderName": "Guest 0", "content": content}
        milliseconds = int(now * 1000)
        cursor = {"cursor": f"0123456789abcdef-{milliseconds}-{milliseconds}-{told}"}
        await server.emit("message", message | stored | cursor, to=room)
        return stored

    for handler in (join, leave, send):
        server.on(handler.__name__, handler)

    class Listening(uvicorn.Server):
        async def startup(self, *arguments: Any, **options: Any) -> None:
            await super().startup(*arguments, **options)
            print("listening", flush=True)

    config = uvicorn.Config(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=port,
        log_level="error",
        loop="uvloop",
        http="httptools",
        ws="websockets",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        backlog=4096,
    )
    Listening(config).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
