"""What each command is answered with: the type of its reply, and the codes of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evanesce.errors import ErrorCode
from evanesce.protocol import commands, events

REPLIES: Mapping[type[commands.Command], type[events.Reply]] = MappingProxyType(
    {
        commands.Hello: events.Welcome,
        commands.Challenge: events.ChallengeReply,
        commands.Refresh: events.TokenReply,
        commands.SignOut: events.Ok,
        commands.CreateRoom: events.RoomReply,
        commands.UpdateRoom: events.RoomReply,
        commands.CreateInvite: events.InviteReply,
        commands.ListInvites: events.InvitesReply,
        commands.RevokeInvite: events.Ok,
        commands.RemoveMember: events.Ok,
        commands.ListBans: events.BansReply,
        commands.Unban: events.Ok,
        commands.Mute: events.Ok,
        commands.VoteRemove: events.VoteReply,
        commands.GetRoom: events.RoomReply,
        commands.ListRooms: events.RoomsReply,
        commands.Join: events.Joined,
        commands.Leave: events.Left,
        commands.Send: events.Sent,
        commands.Unsend: events.Ok,
        commands.Typing: events.Ok,
        commands.Members: events.MembersReply,
        commands.CloseRoom: events.Ok,
        commands.GetProfile: events.ProfileReply,
        commands.UpdateProfile: events.ProfileReply,
        commands.ForgetMe: events.Ok,
        commands.Ping: events.Pong,
    }
)
"""The type of the reply to each command that was carried out. `typing` is answered only where it had a `ref`."""

FRAME_ERRORS = frozenset({ErrorCode.BAD_FRAME, ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_TYPE, ErrorCode.RATE_LIMITED})
"""The errors of a frame that is no command."""

HTTP_ERRORS = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.INVALID_TOKEN, ErrorCode.PERSISTENCE_UNAVAILABLE})
"""The errors that a command has over HTTP in addition, where each request has a token of its own."""

_ANY = frozenset({ErrorCode.BAD_REQUEST, ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL})
_SIGNED_IN = _ANY | {ErrorCode.UNAUTHENTICATED}
_DATABASE = frozenset({ErrorCode.PERSISTENCE_UNAVAILABLE})
_PARTS = _DATABASE | {ErrorCode.STORE_UNAVAILABLE}
_PROVIDER = _PARTS | {
    ErrorCode.UNKNOWN_PROVIDER,
    ErrorCode.AUTH_FAILED,
    ErrorCode.FORBIDDEN,
    ErrorCode.AUTH_UNAVAILABLE,
}
_OWNED = _DATABASE | {ErrorCode.ROOM_NOT_FOUND, ErrorCode.FORBIDDEN}
_MEMBER = frozenset({ErrorCode.NOT_MEMBER, ErrorCode.STORE_UNAVAILABLE})

ERRORS: Mapping[type[commands.Command], frozenset[ErrorCode]] = MappingProxyType(
    {
        commands.Hello: _ANY | _PROVIDER | {ErrorCode.INVALID_TOKEN},
        commands.Challenge: _ANY | _PROVIDER,
        commands.Refresh: _SIGNED_IN,
        commands.SignOut: _SIGNED_IN | _PARTS,
        commands.CreateRoom: _SIGNED_IN | _DATABASE | {ErrorCode.TOO_MANY_ROOMS},
        commands.UpdateRoom: _SIGNED_IN | _OWNED | _PARTS,
        commands.CreateInvite: _SIGNED_IN | _OWNED | {ErrorCode.CONFLICT},
        commands.ListInvites: _SIGNED_IN | _OWNED,
        commands.RevokeInvite: _SIGNED_IN | _OWNED,
        commands.RemoveMember: _SIGNED_IN | _OWNED | _PARTS | {ErrorCode.CONFLICT},
        commands.ListBans: _SIGNED_IN | _OWNED,
        commands.Unban: _SIGNED_IN | _OWNED | _PARTS,
        commands.Mute: _SIGNED_IN | _OWNED | _PARTS | {ErrorCode.CONFLICT},
        commands.VoteRemove: _SIGNED_IN | _OWNED | _PARTS | {ErrorCode.NOT_MEMBER},
        commands.GetRoom: _SIGNED_IN | _PARTS | {ErrorCode.ROOM_NOT_FOUND},
        commands.ListRooms: _SIGNED_IN | _PARTS,
        commands.Join: _SIGNED_IN
        | _PARTS
        | {
            ErrorCode.ROOM_NOT_FOUND,
            ErrorCode.NOT_MEMBER,
            ErrorCode.REJECTED,
            ErrorCode.ROOM_LOCKED,
            ErrorCode.INVITE_REQUIRED,
            ErrorCode.INVITE_SPENT,
            ErrorCode.BANNED,
            ErrorCode.CONFLICT,
            ErrorCode.ROOM_FULL,
            ErrorCode.TOO_MANY_ROOMS,
        },
        commands.Leave: _SIGNED_IN | _MEMBER,
        commands.Send: _SIGNED_IN
        | _MEMBER
        | {
            ErrorCode.CONTENT_EMPTY,
            ErrorCode.CONTENT_TOO_LONG,
            ErrorCode.REJECTED,
            ErrorCode.MUTED,
            ErrorCode.CONFLICT,
        },
        commands.Unsend: _SIGNED_IN | _MEMBER | {ErrorCode.FORBIDDEN, ErrorCode.MESSAGE_NOT_FOUND},
        commands.Typing: _SIGNED_IN | _MEMBER | {ErrorCode.MUTED},
        commands.Members: _SIGNED_IN | _MEMBER,
        commands.CloseRoom: _SIGNED_IN | _OWNED | _PARTS,
        commands.GetProfile: _SIGNED_IN | _DATABASE | {ErrorCode.INVALID_TOKEN},
        commands.UpdateProfile: _SIGNED_IN | _DATABASE | {ErrorCode.INVALID_TOKEN},
        commands.ForgetMe: _SIGNED_IN | _PARTS,
        commands.Ping: _ANY,
    }
)
"""The errors with which the server may refuse each command on a connection.

A sign-in plugin of another author may use further codes in its answers to `hello` and `challenge`.
"""
