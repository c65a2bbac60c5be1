"""The plugin `webhooks`: tells other services, by signed HTTP requests, who comes and goes and which rooms there are.

General layout: `settings`; `signing`, what is sent about an event; `presence`, which drops the leaves of those who come
back soon; `delivery`, the queue of each receiver and its attempts; `pipeline`, which combines these.
"""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.errors import PluginError
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Server, Settings, Setup
from evanesce.model import ChatRoom, Timestamp
from evanesce_plugins.webhooks.settings import WebhooksSettings, keys, targets


class WebhooksPlugin:
    """The plugin. Each event goes into the pipeline of this server, in the order of the hooks."""

    evanesce_api = API

    @hookimpl
    def evanesce_settings(self) -> Settings:
        """Return the model of `[plugins.webhooks]`."""
        return WebhooksSettings

    @hookimpl
    def evanesce_configure(self, setup: Setup) -> None:
        """Prepare the queues of the receivers."""
        table = f"plugins.{setup.name}"
        where, signing = targets(setup.settings, table), keys(setup.settings, table)
        try:
            from evanesce_plugins.webhooks.pipeline import Pipeline
        except ModuleNotFoundError as error:
            raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[webhooks]'") from None
        self._pipeline = Pipeline(setup.settings, where, signing)

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        """Send events until the server stops, and then what still waits."""
        await self._pipeline.run(server)

    @hookimpl
    async def evanesce_presence_changed(self, room_id: str, joined: Sequence[str], left: Sequence[str]) -> None:
        """Send `member.joined` and `member.left`."""
        await self._pipeline.presence_changed(room_id, joined, left)

    @hookimpl
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        """Send `room.opened`."""
        await self._pipeline.put("room.opened", roomId=room.room_id, createdBy=room.created_by)

    @hookimpl
    async def evanesce_room_closed(self, room_id: str) -> None:
        """Send `room.closed`."""
        await self._pipeline.put("room.closed", roomId=room_id)

    @hookimpl
    async def evanesce_member_removed(self, room_id: str, user_id: str, reason: str) -> None:
        """Send `member.removed`."""
        await self._pipeline.put("member.removed", roomId=room_id, userId=user_id, reason=reason)

    @hookimpl
    async def evanesce_member_banned(self, room_id: str, user_id: str, reason: str, until: Timestamp) -> None:
        """Send `member.banned`."""
        await self._pipeline.put("member.banned", roomId=room_id, userId=user_id, reason=reason, until=until)

    @hookimpl
    async def evanesce_user_erased(self, user_id: str) -> None:
        """Send `user.erased`."""
        await self._pipeline.put("user.erased", userId=user_id)


plugin = WebhooksPlugin()
