"""A bare broadcast on picows: what one connection says goes to all, as it is. Argument: port."""

from __future__ import annotations

import sys
from typing import Any

import picows
import uvloop

connections: set[Any] = set()


class Listener(picows.WSListener):
    def on_ws_connected(self, transport: Any) -> None:
        connections.add(transport)

    def on_ws_disconnected(self, transport: Any) -> None:
        connections.discard(transport)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            for connection in connections:
                connection.send(picows.WSMsgType.TEXT, payload)


async def main(port: int) -> None:
    server = await picows.ws_create_server(lambda request: Listener(), "127.0.0.1", port, backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
