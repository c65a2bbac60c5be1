"""The part of the protocol's state machine that is about rooms with rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from evanesce.model import milliseconds
from tests.fuzz.machine import MOST_CLIENTS, NOWHERE, STRANGE, UNAVAILABLE, USERS, Machine, of, which
from tests.fuzz.rule_model import NEVER, VOTE_SECONDS, InviteModel, RoomModel, VoteModel, over, over_not
from tests.fuzz.world import NAMES, SHORTEST_TTL, TTL
from tests.promises.client import PromiseClient
from tests.promises.rules import Options

MOST_ROOMS = 3

SECRETS = ("wrong", "")
"""Secrets of no invite."""

options = st.fixed_dictionaries(
    {},
    optional={
        "messageTtl": st.sampled_from([SHORTEST_TTL / 2, SHORTEST_TTL, TTL / 2, TTL, 1.5 * TTL]),
        "access": st.sampled_from(["invite", "link"]),
        "locked": st.booleans(),
    },
)
"""Options of a room: one of the times to live is too short."""


def is_lawful(fields: dict[str, Any]) -> bool:
    """Return whether options are accepted."""
    return fields.get("messageTtl", TTL) >= SHORTEST_TTL


class RuleMachine(Machine):
    """Creators who change the rules of their rooms, and others who try to; votes."""

    def __init__(self) -> None:
        super().__init__()
        self.voted_at: dict[tuple[str, str], RoomModel] = {}
        """How often each person has voted in each room, as a model of the changes."""

    # Who does what to whom

    def owner(self, number: int, room: int) -> tuple[PromiseClient, str]:
        """Return a client and a room: mostly one that its user has created."""
        room_id = self.room(room)
        model = self.rooms.get(room_id)
        owners = [client for client in self.talking if model is not None and client.user_id == model.creator]
        return of(self.talking if number == STRANGE or not owners else owners, number), room_id

    def person(self, room: str, number: int) -> str:
        """Return a user: a member, somebody who is not, or nobody."""
        known = [client.user_id for client in self.world.clients if client.user_id]
        return of([*dict.fromkeys([*self.present(room), *known]), NOWHERE], number)

    def is_known(self, user_id: str) -> bool:
        return any(client.user_id == user_id for client in self.world.clients)

    def due_to_owner(self, client: PromiseClient, room: str, due: set[str], *, counts: bool = True) -> set[str]:
        """Return what a command may come to that only the creator of a room may give."""
        model = self.rooms.get(room)
        if model is None or room in self.closed:
            return {"room_not_found"}
        if model.creator != client.user_id:
            return {"forbidden"}
        if room in self.closing:
            due = due | {"room_not_found", *UNAVAILABLE}
        if counts and model.may_be_too_fast(self.now):
            due = due | {"rate_limited"}
        return due

    def tell(self, client: PromiseClient, type: str, room: str, due: set[str], **fields: Any) -> tuple[str, bool]:
        """Let a client give a command about a room; return the code of its outcome, and whether it may be done."""
        reply = self.ask(client, type, due, roomId=room, **fields)
        got = reply.get("code", reply["type"])
        done = room in self.rooms and got in ("room", "ok", "vote", "ended", *UNAVAILABLE)
        return got, done

    # Options and invites

    @precondition(lambda self: self.talking and len(self.rooms) < MOST_ROOMS)
    @rule(number=which, fields=options)
    def create_room(self, number: int, fields: dict[str, Any]) -> None:
        client = of(self.talking, number)
        chosen = {name: value for name, value in fields.items() if name != "locked"}
        reply = self.ask(client, "create_room", {"room"} if is_lawful(chosen) else {"bad_request"}, **chosen)
        if reply["type"] == "room":
            made = Options(chosen.get("messageTtl", TTL), chosen.get("access", "link"))
            if Options.of(reply) != made:
                self.fail(f"a room was created with {Options.of(reply)}, and not {made}")
            self.rooms[reply["roomId"]] = RoomModel(client.user_id, {made})

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, fields=options)
    def update_room(self, number: int, room: int, fields: dict[str, Any]) -> None:
        client, room_id = self.owner(number, room)
        present = set(self.present(room_id))
        due = self.due_to_owner(client, room_id, self.from_store("room") if is_lawful(fields) else {"bad_request"})
        reply = self.ask(client, "update_room", due, roomId=room_id, **fields)
        got = reply.get("code", reply["type"])
        if got == "room":
            model = self.rooms[room_id]
            model.change(fields, certain=True)
            if Options.of(reply) not in model.options:
                self.fail(f"update_room answers {Options.of(reply)}, and not one of {model.options}")
            model.options = {Options.of(reply)}
            if fields.get("access") == "invite":
                model.admitted |= present
        elif got in ("ended", *UNAVAILABLE):
            self.rooms[room_id].change(fields, certain=False)

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, people=st.sampled_from([None, 1, 2]), seconds=st.sampled_from([None, 60]))
    def invite(self, number: int, room: int, people: int | None, seconds: int | None) -> None:
        client, room_id = self.owner(number, room)
        due = self.due_to_owner(client, room_id, {"invite"}, counts=False)
        reply = self.ask(client, "invite", due, roomId=room_id, people=people, seconds=seconds)
        if reply["type"] != "invite":
            return
        _, hash, secret = reply["link"].partition(f"/r/{room_id}#invite=")
        if not hash or not secret or (reply["people"], reply["left"]) != (people or 1, people or 1):
            self.fail(f"an invite for {reply['people']} people, of whom {reply['left']} are left")
        until = self.now + (seconds or 86_400)
        self.rooms[room_id].invites[reply["inviteId"]] = InviteModel(
            secret, people or 1, people or 1, until, reply["expiresAt"]
        )

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which)
    def invites(self, number: int, room: int) -> None:
        client, room_id = self.owner(number, room)
        reply = self.ask(
            client, "invites", self.due_to_owner(client, room_id, {"invites"}, counts=False), roomId=room_id
        )
        if reply["type"] != "invites":
            return
        told = {one["inviteId"]: (one["people"], one["left"], one["expiresAt"]) for one in reply["invites"]}
        for invite_id, invite in self.rooms[room_id].invites.items():
            ended = over(self.now, invite.expires_at) if invite.left else {True}
            is_told = told.pop(invite_id, None)
            if (is_told is None) not in ended or is_told not in (
                None,
                (invite.people, invite.left, invite.expires_text),
            ):
                self.fail(f"an invite is listed as {is_told}, and {invite} is due")
        if told or any("link" in one for one in reply["invites"]):
            self.fail("invites are listed that there are not, or with their links")

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, invite=which)
    def revoke_invite(self, number: int, room: int, invite: int) -> None:
        client, room_id = self.owner(number, room)
        model = self.rooms.get(room_id)
        invite_id = of([*(model.invites if model else ()), NOWHERE], invite)
        due = self.due_to_owner(client, room_id, {"ok"}, counts=False)
        got, _ = self.tell(client, "revoke_invite", room_id, due, inviteId=invite_id)
        if got == "ok" and model is not None and invite_id in model.invites:
            model.spent.append(model.invites.pop(invite_id).secret)

    @precondition(lambda self: self.store == "none" and len(self.rooms) < MOST_ROOMS and self.talking)
    @rule(number=which, people=st.sampled_from([1, 2]), guests=st.lists(which, min_size=1, max_size=4))
    def invite_to_new_room(self, number: int, people: int, guests: list[int]) -> None:
        """Create a room for those who are invited, and let some come with the invite: more than it admits, or less."""
        self.create_room(number, {"access": "invite"})
        room = len(self.rooms) - 1
        if self.talking:  # a step may find that a token has run out
            self.invite(0, room, people, None)
        for guest in guests:
            if self.talking:
                self.join_with_invite(guest, room, 0)

    @precondition(lambda self: self.talking and self.store == "none")
    @rule(number=which, room=which, invite=which)
    def join_with_invite(self, number: int, room: int, invite: int) -> None:
        """Join with the secret of an invite: of this room or another one, live or not; or with none of any."""
        client, room_id = of(self.talking, number), self.room(room)
        models = list(self.rooms.values())
        models.sort(key=lambda model: model is not self.rooms.get(room_id))
        secrets = [one.secret for model in models for one in model.invites.values()]
        secrets += [secret for model in models for secret in model.spent] + list(SECRETS)
        if room_id not in self.rooms or len(self.rooms[room_id].options) == 1:
            self.enter(client, room_id, secret=of(secrets, invite))

    # Removals, bans and mutes

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, person=which, seconds=st.sampled_from([None, 0, 5, 3600]))
    def remove_member(self, number: int, room: int, person: int, seconds: int | None) -> None:
        client, room_id = self.owner(number, room)
        user_id = self.person(room_id, person)
        lawful = user_id != client.user_id and self.is_known(user_id)
        due = self.due_to_owner(client, room_id, self.from_store("ok") if lawful else {"bad_request"})
        got, done = self.tell(client, "remove_member", room_id, due, userId=user_id, banSeconds=seconds)
        if not done:
            return
        model = self.rooms[room_id]
        if seconds:  # a removal alone ends no ban
            model.ban(user_id, self.now + seconds, certain=got == "ok")
        if got != "ok":
            model.unsure.add(user_id)
            return
        model.leavers.add(user_id)
        self.is_out(user_id, room_id)

    def is_out(self, user_id: str, room: str) -> None:
        """Check that somebody who was removed is no member any more, on no connection."""
        if user_id in self.present(room) or any(
            room in client.rooms for client in self.talking if client.user_id == user_id
        ):
            self.fail("somebody who was removed is still in the room")

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which)
    def bans(self, number: int, room: int) -> None:
        client, room_id = self.owner(number, room)
        reply = self.ask(client, "bans", self.due_to_owner(client, room_id, {"bans"}, counts=False), roomId=room_id)
        if reply["type"] != "bans":
            return
        model = self.rooms[room_id]
        told = {ban["userId"] for ban in reply["bans"]}
        for user_id in [*model.bans]:
            if user_id in model.unstored:
                continue
            if (user_id in told) not in model.is_banned(user_id, self.now):
                self.fail(f"bans are {told}, and {model.bans} are due")
            model.learn_banned(user_id, user_id in told, self.now)
        if told - model.bans.keys():
            self.fail("somebody is said to be banned who is not")

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, person=which)
    def unban(self, number: int, room: int, person: int) -> None:
        client, room_id = self.owner(number, room)
        model = self.rooms.get(room_id)
        banned = [user for user in model.bans if True in model.is_banned(user, self.now)] if model else []
        user_id = of(banned, person) if banned and person < STRANGE / 2 else self.person(room_id, person)
        due = self.due_to_owner(client, room_id, self.from_store("ok"))
        got, done = self.tell(client, "unban", room_id, due, userId=user_id)
        if done:
            self.rooms[room_id].ban(user_id, NEVER, certain=got == "ok")

    @precondition(lambda self: self.talking)
    @rule(number=which, room=which, person=which, seconds=st.sampled_from([0, 5, 3600]))
    def mute(self, number: int, room: int, person: int, seconds: int) -> None:
        client, room_id = self.owner(number, room)
        user_id = self.person(room_id, person)
        lawful = user_id != client.user_id and self.is_known(user_id)
        due = self.due_to_owner(client, room_id, self.from_store("ok") if lawful else {"bad_request"})
        got, done = self.tell(client, "mute", room_id, due, userId=user_id, seconds=seconds)
        if done:
            until = self.now + seconds if seconds else NEVER
            self.rooms[room_id].mute(user_id, until, certain=got == "ok")

    @precondition(lambda self: self.talking)
    @rule(number=which, seconds=st.sampled_from([5, 3600]), waits=st.sampled_from([0, 4, 6]))
    def mute_who_writes(self, number: int, seconds: int, waits: int) -> None:
        """Mute a member, who writes all the same, and again later."""
        writer, room_id = self.member(number)
        owners = [
            client for client in self.talking if self.exists(room_id) and client.user_id == self.rooms[room_id].creator
        ]
        if not owners or writer.user_id == owners[0].user_id:
            return
        due = self.due_to_owner(owners[0], room_id, self.from_store("ok"))
        got, done = self.tell(owners[0], "mute", room_id, due, userId=writer.user_id, seconds=seconds)
        if done:
            self.rooms[room_id].mute(writer.user_id, self.now + seconds, certain=got == "ok")
        self.write(writer, room_id)
        self.do(lambda: self.world.wait(waits))
        if writer.open:
            self.write(writer, room_id)

    def write(self, client: PromiseClient, room: str) -> None:
        """Let a client send a message, and say that it is typing."""
        content = "muted?"
        self.ask(client, "send", self.due_to_send(client, room, content, ""), roomId=room, content=content)
        self.ask(client, "typing", self.due_to_type(client, room), roomId=room)

    # Votes

    @precondition(lambda self: self.talking)
    @rule(number=which, person=which)
    def vote_remove(self, number: int, person: int) -> None:
        client, room_id = self.member(number)
        self.vote(client, room_id, self.person(room_id, person))

    @precondition(lambda self: self.store == "none" and self.talking)
    @rule(room=which, person=which, voters=st.lists(which, min_size=1, max_size=3))
    def vote_without_creator(self, room: int, person: int, voters: list[int]) -> None:
        """Let the creator leave and others come, and let some of them vote on one of them."""
        room_id = self.room(room)
        if not self.exists(room_id):
            return
        creator = self.rooms[room_id].creator
        for client in self.talking:
            if client.user_id == creator and room_id in client.rooms:
                self.leave_room(client, room_id)
        for number, name in enumerate(USERS):
            known = [client for client in self.talking if client.credential["name"] == name]
            if not known and self.connected < MOST_CLIENTS:
                known = [self.sign_in(name, of(list(NAMES), number))]
            if known and known[0].user_id != creator and known[0].user_id not in self.present(room_id):
                self.enter(known[0], room_id)
        user_id = self.person(room_id, person)
        for number in voters:
            members = [client for client in self.talking if room_id in client.rooms and client.user_id != user_id]
            if members:
                self.vote(of(members, number), room_id, user_id)

    def due_to_vote(self, client: PromiseClient, room: str, user_id: str) -> set[str]:
        model = self.rooms.get(room)
        if model is None or room in self.closed:
            return {"room_not_found"}
        if user_id == client.user_id or not self.is_known(user_id):
            return {"bad_request"}
        if room in self.closing:
            return {"room_not_found", *UNAVAILABLE}
        if self.store != "none":
            return UNAVAILABLE
        present, vote, now = self.present(room), model.votes.get(user_id), self.now
        if client.user_id not in present:
            return {"not_member"}
        if user_id == model.creator:
            return {"forbidden"}
        if vote is not None and not vote.certain:
            return {"vote", "bad_request", "forbidden"}
        due, banned = set[str](), model.is_banned(user_id, now)
        if True in banned:  # the repeat of a vote that has removed the person is answered as the vote
            due |= (
                {"bad_request", "vote"} if vote and vote.removed and client.user_id in vote.voters else {"bad_request"}
            )
        if False not in banned:
            return due
        runs = over_not(now, vote.expires_at) if vote is not None and not vote.removed else {False}
        if user_id not in present and False in runs:
            due.add("bad_request")
        if model.creator in present or len(present) < 3:
            due.add("forbidden")
        if model.creator not in present and len(present) >= 3 and (user_id in present or True in runs):
            due.add("vote")
        return due

    def vote(self, client: PromiseClient, room: str, user_id: str) -> None:
        """Let a client vote for the removal of somebody."""
        due, present = self.due_to_vote(client, room, user_id), self.present(room).keys()
        counter = self.voted_at.setdefault((room, client.user_id), RoomModel("", set()))
        if counter.may_be_too_fast(self.now):
            due.add("rate_limited")
        ledger = self.world.ledger.ledgers.get(room)
        removals = len(ledger.rules.removals.get(user_id, ())) if ledger else 0
        reply = self.ask(client, "vote_remove", due, roomId=room, userId=user_id)
        got = reply.get("code", reply["type"])
        if room not in self.rooms or got not in ("vote", "ended", *UNAVAILABLE):
            return
        model, others = self.rooms[room], present - {user_id}
        vote = model.votes.get(user_id)
        if got == "vote" and vote is not None and vote.removed and True in model.is_banned(user_id, self.now):
            return
        if vote is None or vote.removed or True in over(self.now, vote.expires_at):
            certain = vote is None or vote.removed or False not in over(self.now, vote.expires_at)
            vote = model.votes[user_id] = VoteModel(self.now + VOTE_SECONDS, certain=certain)
        vote.voters.add(client.user_id)
        vote.certain = vote.certain and got == "vote"
        if got == "vote":
            votes, needed = len(vote.voters & others), max(2, len(others) // 2 + 1)
            ends_in = (milliseconds(reply["expiresAt"]) - self.do(self.world.store_time)) / 1000
            if reply["needed"] != needed or (vote.certain and reply["votes"] != votes):
                self.fail(f"{reply['votes']} votes of {reply['needed']}, and {votes} of {needed} are due")
            if vote.certain and abs(self.now + ends_in - vote.expires_at) > 0.5:
                self.fail(f"a vote ends in {ends_in} s")
        removed = ledger is not None and len(ledger.rules.removals.get(user_id, ())) > removals
        if got == "vote" and removed != (reply["votes"] >= reply["needed"]):
            self.fail("a vote has removed somebody, or has not, against its votes")
        if removed:
            vote.removed, vote.expires_at = True, self.now + VOTE_SECONDS
            model.removed_by_vote(user_id, self.now, stored=got == "vote")
            self.is_out(user_id, room)

    # What always holds

    def check_rules(self) -> None:
        """Check, while nothing is under way, that the members know the rules, and that nobody is in who is banned."""
        for room_id, model in self.rooms.items():
            told = {client.rooms[room_id].rules.options for client in self.talking if room_id in client.rooms}
            if told and (len(told) > 1 or not told <= model.options):
                self.fail(f"the members know the rules {told}, and {model.options} are due")
            model.options = told or model.options
            for user_id in self.present(room_id):
                if False not in model.is_banned(user_id, self.now):
                    self.fail("somebody is in the room who is banned")
