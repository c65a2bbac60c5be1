"""The operations of the interface for operators: the request of each, its path, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from evanesce.admin import model

PREFIX = "/admin/v1"

OPENAPI = f"{PREFIX}/openapi.json"
"""Where the description of the interface is."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. The fields of the request that are not in the path are in the query, or, with a body, in it.

    What is not a GET is an act, which the audit log has.
    """

    name: str
    method: str
    path: str
    request: type[model.Request]
    answer: type[msgspec.Struct]

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The fields of the request that are in the path, as JSON names them."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def has_body(self) -> bool:
        """Whether the request has a body, a JSON object."""
        return self.method in ("POST", "PUT") and len(self.request.__struct_fields__) > len(self.path_fields)

    @property
    def is_act(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


OPERATIONS = (
    Operation("stats", "GET", f"{PREFIX}/stats", model.GetStats, model.Stats),
    Operation("rooms", "GET", f"{PREFIX}/rooms", model.ListRooms, model.Rooms),
    Operation("room", "GET", f"{PREFIX}/rooms/{{roomId}}", model.GetRoom, model.RoomDetail),
    Operation("close", "DELETE", f"{PREFIX}/rooms/{{roomId}}", model.CloseRoom, model.Done),
    Operation("users", "GET", f"{PREFIX}/users", model.ListUsers, model.Users),
    Operation("user", "GET", f"{PREFIX}/users/{{user}}", model.GetUser, model.UserDetail),
    Operation("disconnect", "POST", f"{PREFIX}/users/{{user}}/disconnect", model.DisconnectUser, model.Done),
    Operation("ban", "PUT", f"{PREFIX}/users/{{user}}/ban", model.BanUser, model.BanInfo),
    Operation("unban", "DELETE", f"{PREFIX}/users/{{user}}/ban", model.UnbanUser, model.Done),
    Operation("bans", "GET", f"{PREFIX}/bans", model.ListBans, model.Bans),
    Operation("announce", "POST", f"{PREFIX}/announce", model.Announce, model.Announced),
    Operation("drain", "POST", f"{PREFIX}/drain", model.Drain, model.Drained),
)


def find(method: str, segments: list[str]) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation of a method and the decoded segments of a path, and the fields in the path."""
    for operation in OPERATIONS:
        parts = operation.path.split("/")
        if operation.method == method and len(parts) == len(segments):
            pairs = list(zip(parts, segments, strict=True))
            if all(part == segment or part.startswith("{") for part, segment in pairs):
                return operation, {part[1:-1]: segment for part, segment in pairs if part.startswith("{")}
    return None


def methods(segments: list[str]) -> list[str]:
    """Return the methods that a path has; empty for an unknown path."""
    return [method for method in ("GET", "POST", "PUT", "DELETE") if find(method, segments) is not None]
