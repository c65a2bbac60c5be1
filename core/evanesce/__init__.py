"""Evanesce: chat that leaves nothing behind.

The way of a message through this package:

    a transport            (a plugin; hands frames to the gateway)
    sessions/              gateway → session: command, checks, limits; operations: sign-in, account, rooms
    rooms/                 the Hub, and one actor per room: inbox → store, store → members
    store/                 messages under their TTL, presence, what servers tell each other: Redis
    frame.py, outbox.py    encoded once, framed once, and never handed over late

Around it: protocol/ (frames as commands, replies and events, without I/O), model.py and errors.py, interfaces/ and
hookspecs.py (what plugins see), plugins/, config/, cli/, server.py (all of it put together), testing/ (for tests).
"""
