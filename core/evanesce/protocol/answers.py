"""What each command is answered with: the type of its reply."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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
