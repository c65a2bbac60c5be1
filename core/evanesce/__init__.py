"""Evanesce: chat that leaves nothing behind.

The path of a message through this package:

    a transport            (a plugin; gives frames to the gateway)
    sessions/              gateway → task → reader → dispatch → session: frames, limits, commands, requests to rooms
    rooms/                 one actor for each room: room → messages → the store, and back: listener → membership
    store/                 messages with their TTL, presence, and notices between servers: Redis
    delivery/              frame, outbox: encoded once, framed once, and never sent after they expire

Beside it: accounts/ (sign-in, profiles, the rooms of users, erasure), maintenance/ (background jobs), limits/ (rate
limits), workers/ (several processes as one server), application.py (all of it put together) and context.py (what all
of it shares).

Around it: protocol/ (frames as commands, replies and events, without I/O), model.py and errors.py, interfaces/ and
hookspecs.py (what plugins see), plugins/, config/, lifecycle/ (start, signals, restart), cli/, server.py (which
assembles everything), testing/ (for tests).
"""
