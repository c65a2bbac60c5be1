"""The dispatcher: the one place where a command becomes a request to a room or a call of a service."""

from __future__ import annotations

import logging
from functools import partial

import trio

from evanesce import tracing
from evanesce.accounts.room_invites import InviteService
from evanesce.accounts.room_rules import RuleService
from evanesce.accounts.room_votes import VoteService
from evanesce.accounts.service import AccountService, Principal
from evanesce.context import ServerContext
from evanesce.errors import (
    BadRequest,
    CloseCode,
    CommandError,
    ErrorCode,
    Rejected,
    StoreUnavailable,
)
from evanesce.limits.budgets import Budgets
from evanesce.logs import folded
from evanesce.maintenance.activity import Activity
from evanesce.maintenance.reconciliation import Reconciliation
from evanesce.metrics import Metrics
from evanesce.model import Draft, new_id, timestamp
from evanesce.protocol import commands, events
from evanesce.rooms.content import content_flaw, fits
from evanesce.rooms.hub import Hub
from evanesce.rooms.inbox import InboxClosed
from evanesce.rooms.requests import (
    JoinRequest,
    LeaveRequest,
    MembersRequest,
    ResendRequest,
    SendRequest,
    TypingRequest,
    UnsendRequest,
    not_member,
)
from evanesce.sessions.session import Session
from evanesce.subjects import Subjects

logger = logging.getLogger(__name__)

BEFORE_SIGN_IN = (commands.Hello, commands.Challenge, commands.Ping)
"""The commands that a client may send before it has signed in."""

SIGN_OUT_SECONDS = 10.0
"""How long signing out, or erasing an account with its rooms, may take."""


class Dispatcher:
    """Executes the commands of all sessions and HTTP requests of a server."""

    def __init__(
        self,
        context: ServerContext,
        *,
        hub: Hub,
        accounts: AccountService,
        rules: RuleService,
        invites: InviteService,
        votes: VoteService,
        budgets: Budgets,
        activity: Activity,
        reconciliation: Reconciliation,
        subjects: Subjects,
    ) -> None:
        self._config = context.config
        self._store = context.store
        self._plugins = context.plugins
        self._hub = hub
        self._accounts = accounts
        self._rules = rules
        self._invites = invites
        self._votes = votes
        self._budgets = budgets
        self._activity = activity
        self._reconciliation = reconciliation
        self._subjects = subjects

    async def dispatch(self, command: commands.AnyCommand, session: Session, *, greet: bool = True) -> None:
        """Execute a command of a session; a room, or the session, writes the reply. Raises `CommandError`.

        `greet` False omits the `welcome`: the transport's handshake has signed the user in.
        """
        connection = session.connection
        if not isinstance(command, BEFORE_SIGN_IN):
            if session.principal is None:
                raise CommandError(ErrorCode.UNAUTHENTICATED, "Say hello first: sign in on this connection.")
            self._activity.seen(session.user_id)
        match command:
            case commands.Send():
                await self._send(command, session)
            case commands.Typing(room_id=room_id):
                await session.ask(room_id, TypingRequest(session, command.ref))
            case commands.Unsend(room_id=room_id, message_id=message_id):
                await session.ask(room_id, UnsendRequest(session, command.ref, message_id))
            case commands.Members(room_id=room_id):
                await session.ask(room_id, MembersRequest(session, command.ref))
            case commands.Join():
                await self._join(command, session)
            case commands.Leave(room_id=room_id):
                await session.ask(room_id, LeaveRequest(session, command.ref))
                session.forget(room_id)
            case commands.Ping():
                connection.reply(events.Pong(ref=command.ref, server_time=timestamp(self._store.clock.now())))
            case commands.Hello():
                await self._hello(command, session, greet=greet)
            case commands.Challenge():
                address, local = connection.address, connection.local
                connection.reply(await self._accounts.challenge(command, session.principal, address, local=local))
            case commands.SignOut() | commands.ForgetMe():
                await self._sign_out(command, session)
            case _:
                reply = await self.execute(command, session.require_principal())
                if isinstance(command, commands.UpdateProfile) and isinstance(reply, events.ProfileReply):
                    session.renamed(reply.display_name)  # the next command must not wait for the notice
                connection.reply(reply)

    async def execute(self, command: commands.Command, principal: Principal) -> events.Reply:
        """Call the service for a command that needs no connection. Raises `CommandError`."""
        match command:
            case commands.CreateRoom():
                return await self._accounts.create_room(command, principal)
            case commands.GetRoom():
                return await self._accounts.describe_room(command)
            case commands.ListRooms():
                return await self._accounts.list_rooms(command, principal)
            case commands.CloseRoom():
                return await self._accounts.close_room(command, principal)
            case commands.GetProfile():
                return await self._accounts.profile(command, principal)
            case commands.UpdateProfile():
                return await self._accounts.update_profile(command, principal)
            case commands.Refresh():
                return self._accounts.refresh(command, principal)
            case commands.SignOut():
                return await self._accounts.sign_out(command, principal)
            case commands.ForgetMe():
                return await self._accounts.erase(command, principal)
            case commands.UpdateRoom():
                return await self._rules.update_room(command, principal)
            case commands.CreateInvite():
                return await self._invites.invite(command, principal)
            case commands.ListInvites():
                return await self._invites.invites(command, principal)
            case commands.RevokeInvite():
                return await self._invites.revoke_invite(command, principal)
            case commands.RemoveMember():
                return await self._rules.remove_member(command, principal)
            case commands.ListBans():
                return await self._rules.bans(command, principal)
            case commands.Unban():
                return await self._rules.unban(command, principal)
            case commands.Mute():
                return await self._rules.mute(command, principal)
            case commands.VoteRemove():
                return await self._votes.vote_remove(command, principal)
            case _:
                raise CommandError(ErrorCode.BAD_REQUEST, "This command needs a connection.", field="type")

    # --- the begin and the end of a session -----------------------------------------------------------------------

    async def _hello(self, command: commands.Hello, session: Session, *, greet: bool) -> None:
        connection, before = session.connection, session.principal
        token: str | None = None
        if command.credential is not None:
            address, local = connection.address, connection.local
            principal, token, _ = await self._accounts.sign_in(command.credential, before, address, local=local)
        elif command.token is not None:
            # Clients may reconnect while the database is unavailable, and all at once: it is asked below, for many.
            principal = await self._accounts.authenticate(command.token, allow_cached=True)
        elif before is not None:
            principal = before
        else:
            raise BadRequest("token", "hello needs a token or a credential.")
        if before is not None and before.user.user_id != principal.user.user_id:
            raise CommandError(ErrorCode.FORBIDDEN, "This connection belongs to another user. Open another one.")
        session.identify(principal)
        if before is not None:
            self._hub.signed_in_anew(session, before.claims.sid)
        elif not await self._hub.admit(session):
            session.identify(None)
            # Reconnecting would be refused again, until the user closes one of the other connections.
            reason = "Too many connections of this user. Close one of them."
            connection.end(CloseCode.RATE_LIMITED, reason, may_return=False)
            return
        # From here on every notice reaches this session. Notices that came while the database was read did not.
        try:
            self._accounts.check_still_valid(principal)
        except CommandError as error:
            if error.code is ErrorCode.FORBIDDEN:
                connection.end(CloseCode.NOT_ALLOWED, error.message)
            raise
        self._reconciliation.check_soon(principal.user.user_id, principal.claims.sid)
        now = trio.current_time()
        deadline = now + (principal.claims.exp * 1000 - self._store.clock.now()) / 1000
        # An older token of the same sign-in does not shorten the session that a newer one has extended. With another
        # sign-in the session lasts as long as that one.
        same = before is not None and before.claims.sid == principal.claims.sid
        connection.scope.deadline = max(connection.scope.deadline, deadline) if same else deadline
        if before is None:
            session.budget = self._budgets.of_user(session.user_id)
            session.signed_in_at = now
        if greet:
            connection.reply(self._accounts.welcome(principal, token=token, ref=command.ref))

    async def _sign_out(self, command: commands.SignOut | commands.ForgetMe, session: Session) -> None:
        # The notice of this command ends the connection as well, so the reply has to be written before.
        with trio.CancelScope(deadline=trio.current_time() + SIGN_OUT_SECONDS, shield=True) as signing_out:
            session.connection.reply(await self.execute(command, session.require_principal()))
        if signing_out.cancelled_caught:
            raise StoreUnavailable
        session.end(CloseCode.SIGN_IN_AGAIN, "Signed out.")

    def end_session(self, session: Session) -> None:
        """Remove a session that ends from the Hub and from its rooms."""
        if session.principal is not None:
            self._activity.left(session.user_id)
            self._hub.dismiss(session)
        session.leave_all()

    # --- requests to rooms ----------------------------------------------------------------------------------------

    async def _join(self, command: commands.Join, session: Session) -> None:
        room_id = command.room_id
        most = self._config.limits.rooms_per_connection
        if not session.is_in(room_id):
            if len(session.rooms) >= most:
                message = f"A connection can be in {most} rooms. Leave one of them."
                raise CommandError(ErrorCode.TOO_MANY_ROOMS, message)
            user = session.require_principal().user
            await self._plugins.may_join(room_id, user.user_id, user.display_name)
        while True:
            room = self._hub.running(room_id)
            if room is None:
                known = self._accounts.known_room(room_id)
                if known is None:
                    room = self._hub.start(await self._accounts.room(room_id))
                else:  # all who come back to it wait for one answer of the database, in the room
                    room = self._hub.start(known, partial(self._accounts.room, room_id, allow_cached=True))
            subject = self._subjects.of(session.require_principal().user.world_id)
            try:
                request = JoinRequest(session, command.ref, command.since, subject, command.invite)
                if tracing.active is not None:
                    tracing.active.hand_over(request.number)
                await session.join(room, request)
            except InboxClosed:
                continue  # the room ended while its inbox was full: the Hub starts it again
            return

    def send_at_once(self, command: commands.Send, session: Session) -> bool:
        """Execute a `send` that has to wait for nothing, and return True; otherwise do nothing, and return False."""
        room = session.room(command.room_id)
        if (
            room is None
            or room.inbox.full
            or room.inbox.closed
            or self._plugins.has_filters
            or content_flaw(command.content, command.ttl, room.rules, self._config.messages) is not None
            or not session.budget.take_message()
        ):
            return False
        self._activity.seen(session.user_id)
        return session.send_at_once(command.room_id, SendRequest(session, command.ref, _draft(command, session)))

    async def _send(self, command: commands.Send, session: Session) -> None:
        room = session.room(command.room_id)
        if room is None:
            flaw: CommandError | None = not_member()
        else:
            flaw = content_flaw(command.content, command.ttl, room.rules, self._config.messages)
        await session.budget.take(command if flaw is None else None)  # a refused message counts as another command
        if flaw is not None:
            try:
                raise flaw
            finally:
                del flaw  # or its traceback would keep the message in memory until garbage is collected
        filtered = self._plugins.has_filters
        if command.message_id is not None and filtered:
            # A filter must not see a message twice. Only a message with an id of the client's can be a repeat, so only
            # those cost a call of the store.
            stored = await self._store.messages.find(command.room_id, command.message_id, session.user_id)
            if stored is not None:
                await session.ask(command.room_id, ResendRequest(session, command.ref, command.message_id, stored))
                return
        draft = _draft(command, session)
        if filtered:
            draft = await self._plugins.filter_message(draft, repeatable=command.message_id is not None)
            if (room := session.room(command.room_id)) is not None and not fits(draft.content, room.rules):
                # What a filter has put in its place would be stored and told as if the sender had encrypted it.
                raise Rejected("A filter of this server does not know encrypted messages.")
        request = SendRequest(session, command.ref, draft)
        if tracing.active is not None:
            tracing.active.hand_over(draft.message_id)
        if not session.send_at_once(command.room_id, request):
            await session.ask(command.room_id, request)


def _draft(command: commands.Send, session: Session) -> Draft:
    user = session.require_principal().user
    return Draft(
        message_id=command.message_id or new_id(),
        room_id=command.room_id,
        sender_id=user.user_id,
        sender_name=user.display_name,
        content=command.content,
        reply_to=command.reply_to,
        ttl=command.ttl,
    )


def internal_error(command: commands.Command, error: Exception, metrics: Metrics) -> CommandError:
    """Log and count a fault at executing a command, and return the error that the client gets for it."""
    logger.error("a %s failed: %s", type(command).__name__, folded(error))
    metrics.faults.labels("command").inc()
    return CommandError(ErrorCode.INTERNAL, "A fault in the server. Try again in a moment.")
