"""What a terminal says about a room: its rules, its people, votes, invites, and what to do about an error.

The texts contain names as they are: whoever prints them replaces the control characters, as `console.line` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from evanesce.cli.people import list_people, short_ids
from evanesce.client.connection import Fields
from evanesce.client.errors import Refused

UntilSeconds = Callable[[str], float]
"""Returns how many seconds are left until a time of the server."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))

_ADVICE: Mapping[str, str] = {
    "room_locked": "Its creator can let you in with /unlock.",
    "invite_required": "Ask for a link with an invite (#invite=…), and use all of it.",
    "invite_spent": "Ask for a new invite.",
    "room_not_found": "Ask for a new link.",
}


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two, or exactly one."""
    if seconds != int(seconds) and seconds < 10:
        return f"{seconds:.3g} seconds"
    seconds = round(seconds)
    for size, unit in _UNITS:
        if seconds >= 2 * size or seconds == size:
            return counted(round(seconds / size), unit)
    return "0 seconds"


def describe_error(error: Refused) -> str:
    """Return what the server says about an error, and what to do about it."""
    parts = [str(error)]
    if error.code in _ADVICE:
        parts.append(_ADVICE[error.code])
    elif error.code in ("banned", "muted") and error.retry_after is not None:
        what = "come back" if error.code == "banned" else "write again"
        parts.append(f"You can {what} in {duration(error.retry_after)}.")
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)


def describe_rules(room: Fields, usual_ttl: float) -> str:
    """Return what is special about a room, of `joined.room`; "" where nothing is."""
    said: list[str] = []
    if room["encrypted"]:
        said.append("it is end-to-end encrypted")
    if room["messageTtl"] != usual_ttl:
        said.append(_ttl(room))
    if room["access"] != "link":
        said.append(_access(room))
    if room["locked"]:
        said.append(_locked(room))
    return ", ".join(said)


def describe_changes(before: Fields, now: Fields) -> str:
    """Return how `room_updated` has changed the rules; "" where it has not."""
    changes = {"messageTtl": _ttl, "access": _access, "locked": _locked}
    return ", ".join(describe(now) for key, describe in changes.items() if before.get(key) != now[key])


def _ttl(room: Fields) -> str:
    return f"messages live for {duration(room['messageTtl'])}"


def _access(room: Fields) -> str:
    return "only invited people may join" if room["access"] == "invite" else "whoever has the link may join"


def _locked(room: Fields) -> str:
    return "it is locked: nobody else may join" if room["locked"] else "it is not locked"


def describe_members(reply: Fields) -> str:
    """Return the number of members of a room, and their names if the server sends them."""
    people = {member["userId"]: member["displayName"] for member in reply.get("members", ())}
    return f"{counted(reply['memberCount'], 'person', 'people')}{': ' if people else ''}{list_people(people)}"


def describe_mute(name: str, own: bool, until: str | None, left: UntilSeconds) -> str:
    """Return what `member_muted` says: `own` of the user of this terminal, else of `name`."""
    who = "you" if own else name
    return f"{who} may write again" if until is None else f"{who} may not write for {duration(left(until))}"


def describe_vote(vote: Fields, name: str, left: UntilSeconds) -> str:
    """Return what an event or a reply `vote` says about the removal of `name`."""
    count = f"{vote['votes']} of {counted(vote['needed'], 'vote')}"
    match vote.get("outcome"):
        case None:
            return f"{count} to remove {name}: /vote adds yours in the next {duration(left(vote['expiresAt']))}"
        case "removed":
            return f"the vote has removed {name}"
        case _:
            return f"the vote to remove {name} has ended with {count}"


def describe_removal(removed: Fields, left: UntilSeconds) -> str:
    """Return what `removed` says to the person whom it names."""
    by = "a vote" if removed["reason"] == "vote" else "its creator"
    until = removed.get("until")
    back = "" if until is None else f". You can come back in {duration(left(until))}"
    return f"you were removed from this room by {by}{back}"


def describe_invites(invites: list[Fields], left: UntilSeconds) -> Iterator[str]:
    """Yield a line for each invite, which begins with what `/revoke` needs."""
    short = short_ids(invite["inviteId"] for invite in invites)
    for invite in invites:
        people = f"{invite['left']} of {counted(invite['people'], 'person', 'people')}"
        yield f"{short[invite['inviteId']]}: for {people}, and {duration(left(invite['expiresAt']))}"
    if not invites:
        yield "there are no invites"


def describe_bans(bans: list[Fields], left: UntilSeconds) -> Iterator[str]:
    """Yield a line for each ban."""
    short = short_ids(ban["userId"] for ban in bans)
    for ban in bans:
        yield f"{ban['displayName']} (#{short[ban['userId']]}): for {duration(left(ban['until']))}"
    if not bans:
        yield "nobody is banned"
