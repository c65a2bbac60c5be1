"""Rooms: one actor each, the members they have on this server, and the Hub that starts them."""
