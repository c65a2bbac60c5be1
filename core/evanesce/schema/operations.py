"""The operations of the HTTP API: the command that each executes, and what it is answered with."""

from __future__ import annotations

from dataclasses import dataclass

from evanesce.protocol import commands

PREFIX = "/api/v1"

_ROOM = f"{PREFIX}/rooms/{{roomId}}"


@dataclass(frozen=True, slots=True)
class Operation:
    """A request of the API. `status` is that of the answer; 204 has no body.

    The fields of the command that are neither in the path nor in `query` are in the body, a JSON object; without
    `has_body` there is none.
    """

    method: str
    path: str
    command: type[commands.Command]
    status: int
    query: tuple[str, ...] = ()
    has_body: bool = False

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The fields of the command that are in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


OPERATIONS = (
    Operation("POST", f"{PREFIX}/challenge", commands.Challenge, 200, has_body=True),
    Operation("POST", f"{PREFIX}/session/refresh", commands.Refresh, 200),
    Operation("DELETE", f"{PREFIX}/session", commands.SignOut, 204),
    Operation("GET", f"{PREFIX}/me", commands.GetProfile, 200),
    Operation("PATCH", f"{PREFIX}/me", commands.UpdateProfile, 200, has_body=True),
    Operation("DELETE", f"{PREFIX}/me", commands.ForgetMe, 204),
    Operation("POST", f"{PREFIX}/rooms", commands.CreateRoom, 201, has_body=True),
    Operation("GET", f"{PREFIX}/rooms", commands.ListRooms, 200, query=("after",)),
    Operation("GET", _ROOM, commands.GetRoom, 200),
    Operation("PATCH", _ROOM, commands.UpdateRoom, 200, has_body=True),
    Operation("DELETE", _ROOM, commands.CloseRoom, 204),
    Operation("POST", f"{_ROOM}/invites", commands.CreateInvite, 201, has_body=True),
    Operation("GET", f"{_ROOM}/invites", commands.ListInvites, 200),
    Operation("DELETE", f"{_ROOM}/invites/{{inviteId}}", commands.RevokeInvite, 204),
    Operation("DELETE", f"{_ROOM}/members/{{userId}}", commands.RemoveMember, 204, query=("banSeconds",)),
    Operation("GET", f"{_ROOM}/bans", commands.ListBans, 200, query=("after",)),
    Operation("DELETE", f"{_ROOM}/bans/{{userId}}", commands.Unban, 204),
    Operation("PUT", f"{_ROOM}/mutes/{{userId}}", commands.Mute, 204, has_body=True),
    Operation("POST", f"{_ROOM}/votes", commands.VoteRemove, 200, has_body=True),
)
"""All operations that execute a command. Signing in, `POST /api/v1/session`, is described apart."""
