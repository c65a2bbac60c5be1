"""The framing of WebSocket messages from a server: not masked, not compressed, so the same bytes for every client."""

from __future__ import annotations

_TEXT = 0x81  # final, no extension, text
_LARGEST_SHORT = 125
_LARGEST_16_BITS = 0xFFFF


class WebSocketFraming:
    """Makes one whole text message (RFC 6455, section 5.2).

    Uncompressed is lawful even where permessage-deflate was negotiated (RFC 7692, section 6). wsproto makes the same
    bytes; in small rooms that was a tenth of the server's time.
    """

    def frame(self, payload: bytes) -> bytes:
        """Wrap `payload`, UTF-8 text."""
        size = len(payload)
        if size <= _LARGEST_SHORT:
            return bytes((_TEXT, size)) + payload
        if size <= _LARGEST_16_BITS:
            return b"\x81\x7e" + size.to_bytes(2, "big") + payload
        return b"\x81\x7f" + size.to_bytes(8, "big") + payload


WEBSOCKET = WebSocketFraming()
"""The one framing of all WebSocket connections, so that a frame is framed once for all of them."""
