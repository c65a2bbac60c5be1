"""What operators can do: each request is carried out with the same means as those of users and plugins."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
import trio
from msgspec import UNSET

from evanesce.accounts.bans import UserBans
from evanesce.admin import model
from evanesce.admin.announcing import Announcer
from evanesce.admin.draining import is_meant
from evanesce.admin.status import StatusReports
from evanesce.errors import BadRequest, Unavailable
from evanesce.model import FOR_EVER, ChatRoom, User, UserBan
from evanesce.rooms.requests import room_not_found
from evanesce.services import Services
from evanesce.sessions.gateway import Gateway
from evanesce.store.control_bus import DrainRequested, UserDisconnected

CLOSED = "An operator of this server has closed the room."

SCANNED = 1000
"""How many accounts are looked at for one page of those that are connected."""


class AdminService:
    """Carries out the requests of operators. Raises `CommandError`, and then nothing is half done."""

    def __init__(self, services: Services, bans: UserBans, gateway: Gateway, reports: StatusReports) -> None:
        self._services = services
        self._repository = services.context.repository
        self._store = services.context.store
        self._config = services.context.config
        self._bans = bans
        self._gateway = gateway
        self._reports = reports
        self._announcer = Announcer(services)

    async def execute(self, request: model.Request) -> msgspec.Struct:
        """Carry out a request, and return its answer."""
        match request:
            case model.GetStats():
                return await self._stats()
            case model.ListRooms():
                return await self._rooms(request)
            case model.GetRoom(room_id=room_id):
                return await self._room(room_id)
            case model.CloseRoom(room_id=room_id):
                await self._services.accounts.room(room_id)
                await self._services.accounts.close(room_id, CLOSED)
                return model.Done()
            case model.ListUsers():
                return await self._users(request)
            case model.GetUser(user=name):
                return await self._user(name)
            case model.DisconnectUser(user=name):
                return await self._disconnect(name)
            case model.BanUser():
                person = await self._bans.person(request.user)
                seconds = None if request.seconds is UNSET else request.seconds
                return _ban(await self._bans.ban(person, seconds, request.reason))
            case model.UnbanUser(user=name):
                return model.Done(changed=await self._bans.unban(await self._bans.person(name)))
            case model.ListBans():
                bans = await self._bans.page(request.after, request.limit + 1)
                page = [_ban(ban) for ban in bans[: request.limit]]
                return model.Bans(bans=page, next=page[-1].ban_id if len(bans) > request.limit else UNSET)
            case model.Announce():
                return await self._announcer.announce(request.text, request.after)
            case model.Drain():
                return await self._drain(request)
            case _:
                raise AssertionError("every request is listed above")

    # --- rooms ----------------------------------------------------------------------------------------------------

    async def _rooms(self, request: model.ListRooms) -> model.Rooms:
        rooms = await self._repository.all_rooms(request.after, request.limit + 1, active=not request.all)
        page = rooms[: request.limit]
        counts = await self._store.presence.counts([room.room_id for room in page])
        listed = [_room(room, count) for room, count in zip(page, counts, strict=True) if count or request.all]
        return model.Rooms(rooms=listed, next=page[-1].room_id if len(rooms) > request.limit else UNSET)

    async def _room(self, room_id: str) -> model.RoomDetail:
        room = await self._repository.room(room_id)
        if room is None:
            raise room_not_found()
        presence = await self._store.presence.snapshot(room_id, self._config.rooms.roster_size)
        members = presence.members
        return model.RoomDetail(
            room=_room(room, presence.count),
            members=UNSET
            if members is None
            else [model.MemberInfo(user_id=one.user_id, display_name=one.display_name) for one in members],
        )

    # --- users ----------------------------------------------------------------------------------------------------

    async def _users(self, request: model.ListUsers) -> model.Users:
        most = request.limit if request.all else SCANNED
        found = await self._repository.all_users(request.after, most + 1)
        looked_at = found[:most]
        connected = await self._store.rate_limits.connected([user.user_id for user in looked_at])
        shown = [user for user in looked_at if request.all or user.user_id in connected]
        page = [_user(user, connected=user.user_id in connected) for user in shown[: request.limit]]
        if len(shown) > request.limit:
            return model.Users(users=page, next=page[-1].user_id)
        return model.Users(users=page, next=looked_at[-1].user_id if len(found) > most else UNSET)

    async def _user(self, name: str) -> model.UserDetail:
        person = await self._bans.person(name)
        ban = await self._bans.of(person)
        user: model.UserInfo | msgspec.UnsetType = UNSET
        if person.user is not None:
            connected = await self._store.rate_limits.connected([person.user.user_id])
            user = _user(person.user, connected=bool(connected))
        return model.UserDetail(user=user, ban=UNSET if ban is None else _ban(ban))

    async def _disconnect(self, name: str) -> model.Done:
        person = await self._bans.person(name)
        if person.user is None:
            raise BadRequest("user", "This person has no account, and so no connection.")
        connected = await self._store.rate_limits.connected([person.user.user_id])
        await self._store.control.announce(UserDisconnected(person.user.user_id))
        return model.Done(changed=bool(connected))

    # --- servers --------------------------------------------------------------------------------------------------

    async def _stats(self) -> model.Stats:
        own = self._store.servers.server_name
        servers = {own: self._reports.now()}
        expiry: model.ExpiryInfo | msgspec.UnsetType = UNSET
        with suppress(Unavailable):
            servers = {**_decoded(await self._store.servers.statuses()), **servers}
            report = await self._store.health.expiry_report()
            if report is not None:
                expiry = model.ExpiryInfo(keys=report.keys, p99=report.p99, worst=report.worst)
        parts = (await self._gateway.readiness()).parts
        seconds: float | msgspec.UnsetType = UNSET
        if parts.get("database") == "up":
            began = trio.current_time()
            with suppress(Unavailable):
                await self._repository.check()
                seconds = round(trio.current_time() - began, 6)
        ordered = dict(sorted(servers.items()))
        return model.Stats(answered_by=own, servers=ordered, parts=dict(parts), database_seconds=seconds, expiry=expiry)

    async def _drain(self, request: model.Drain) -> model.Drained:
        if (request.server is UNSET) != request.all:
            raise BadRequest("server", "Name a server, or set `all` to true to take all servers out of service.")
        name = "" if request.server is UNSET else request.server
        running = {self._store.servers.server_name, *await self._store.servers.statuses()}
        meant = sorted(server for server in running if is_meant(name, server))
        if not meant:
            raise BadRequest("server", "There is no server of this name. See `stats` for their names.")
        await self._store.control.announce(DrainRequested(name))
        return model.Drained(servers=meant)


def _room(room: ChatRoom, count: int) -> model.RoomInfo:
    return model.RoomInfo(
        room_id=room.room_id,
        created_by=room.created_by,
        created_at=room.created_at,
        member_count=count,
        message_ttl=UNSET if room.message_ttl is None else room.message_ttl,
        access=room.access,
        locked=room.locked,
        encrypted=room.encrypted,
    )


def _user(user: User, *, connected: bool) -> model.UserInfo:
    provider, named, _ = user.world_id.partition(":")
    return model.UserInfo(
        user_id=user.user_id,
        display_name=user.display_name,
        provider=provider if named else UNSET,
        guest=user.guest,
        created_at=user.created_at,
        last_active=user.last_active,
        connected=connected,
        banned_until=UNSET if user.banned_until is None else user.banned_until,
    )


def _ban(ban: UserBan) -> model.BanInfo:
    return model.BanInfo(
        ban_id=ban.subject,
        user_id=UNSET if ban.user_id is None else ban.user_id,
        since=ban.since,
        until=UNSET if ban.until == FOR_EVER else ban.until,
        reason=ban.reason,
    )


def _decoded(statuses: Mapping[str, bytes]) -> dict[str, model.ServerStatus]:
    """Return the statuses that this version of the server can read."""
    found: dict[str, model.ServerStatus] = {}
    for name, status in statuses.items():
        with suppress(msgspec.DecodeError, msgspec.ValidationError):
            found[name] = msgspec.json.decode(status, type=model.ServerStatus)
    return found
