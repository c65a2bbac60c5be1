"""World's developer portal: verifies proofs, and knows how the RP's registration is. One HTTP client on Trio."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import NoReturn

import httpx2
import msgspec
import trio

from evanesce.errors import AuthFailed, AuthUnavailable
from evanesce_plugins.worldid import encoding, words
from evanesce_plugins.worldid.proof import Proof

logger = logging.getLogger(__name__)

CONNECTIONS = 20
"""How many requests go at once; the others wait, within the same time-out."""

ANSWER_BYTES = 64 * 1024
"""The largest answer that is read."""

_CODE = re.compile(r"[a-z0-9_]{1,64}")

# It logs every request's address.
logging.getLogger("httpx2").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Status:
    """How the RP's registration is in each environment (None: unknown there), and the portal's clock, if it said."""

    production: str | None
    staging: str | None
    time: float | None


class _ItemAnswer(msgspec.Struct, frozen=True):
    """What became of one item of a proof."""

    success: bool | None = None
    code: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    """What the portal says, of all its answers together: early errors have a `code` and no `success`."""

    success: bool | None = None
    code: str | None = None
    action: str | None = None
    session_id: str | None = None
    environment: str | None = None
    protocol_version: str | None = None
    nullifier: str | None = None
    results: list[_ItemAnswer] | None = None
    production_status: str | None = None
    staging_status: str | None = None


class Portal:
    """The portal at `url`. Used by `async with`; each call takes `timeout` seconds at most."""

    def __init__(self, url: str, rp_id: str, timeout: float) -> None:
        self._url = url
        self._rp_id = rp_id
        self._timeout = timeout
        self._client: httpx2.AsyncClient

    async def __aenter__(self) -> Portal:
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": f"evanesce/{version('evanesce')}", "Accept": "application/json"},
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            timeout=None,  # one deadline is over the whole call: theirs are for each read
        )
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        with trio.CancelScope(shield=True):  # nothing is waited for: it closes sockets
            await self._client.aclose()

    async def verify(self, proof: Proof) -> None:
        """Have a proof verified. Raises `AuthFailed` for one that is not true, `AuthUnavailable`."""
        response, answer = await self._ask("POST", f"/api/v4/verify/{self._rp_id}", msgspec.json.encode(proof.request))
        if response.status_code != 200 or not answer.success:
            self._refuse(answer)
        if not _is_about(answer, proof):
            logger.error("World's portal answered for another proof than it was asked about")
            raise AuthFailed("World ID answered for another proof. Start again.")

    async def status(self) -> Status:
        """Ask how the RP's registration is. Raises `AuthUnavailable`, and `AuthFailed` where there is none."""
        response, answer = await self._ask("GET", f"/api/v4/rp-status/{self._rp_id}", None)
        if response.status_code != 200:
            self._refuse(answer)
        return Status(answer.production_status, answer.staging_status, _time(response.headers.get("Date")))

    async def _ask(self, method: str, path: str, content: bytes | None) -> tuple[httpx2.Response, _Answer]:
        problem = f"it gave no answer within {self._timeout:g} s"
        with trio.move_on_after(self._timeout):
            try:
                return await self._exchange(method, path, content)
            except httpx2.ConnectError:
                problem = "it cannot be connected to"
            except httpx2.HTTPError as error:
                problem = f"the connection to it failed ({type(error).__name__})"
            except _NotAnAnswer as error:
                problem = str(error)
        logger.warning("World's portal: %s", problem)
        raise PortalUnavailable(problem)

    async def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[httpx2.Response, _Answer]:
        headers = {} if content is None else {"Content-Type": "application/json"}
        async with self._client.stream(method, self._url + path, content=content, headers=headers) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                # Read to its end, or to the deadline: the client's iterators are not closed where one is left early.
                if len(body) <= ANSWER_BYTES:
                    body += chunk
        if len(body) > ANSWER_BYTES:
            raise _NotAnAnswer(f"it gave an answer of over {ANSWER_BYTES} bytes")
        if response.status_code != 200 and not 400 <= response.status_code < 500:
            raise _NotAnAnswer(f"it answered HTTP {response.status_code}")
        try:
            return response, msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, ValueError, RecursionError):
            problem = f"it answered HTTP {response.status_code} with a body that is none of the portal's"
            raise _NotAnAnswer(problem) from None

    def _refuse(self, answer: _Answer) -> NoReturn:
        code = _code(answer)
        if code in words.OPERATORS:
            logger.error("World's portal refuses %s: %s. Run evanesce check", self._rp_id, code)
        raise AuthFailed(words.refusal(code))


class PortalUnavailable(AuthUnavailable):
    """The portal does not do its work; `problem` says for the deployer how that shows."""

    def __init__(self, problem: str) -> None:
        super().__init__("World ID does not answer. Try again in a moment.")
        self.problem = problem


class _NotAnAnswer(Exception):
    """What came is none of the documented answers: a gateway's page, a fault."""


def _code(answer: _Answer) -> str:
    """Give the code of a refusal: that of the one item, which says more than the whole."""
    codes = [item.code for item in answer.results or ()] if len(answer.results or ()) == 1 else []
    for code in (*codes, answer.code):
        if code is not None and _CODE.fullmatch(code):
            return code
    return "unknown"


def _is_about(answer: _Answer, proof: Proof) -> bool:
    """Whether a success is that of this proof: whatever the portal repeats of it has to be ours."""
    asked = proof.request
    for repeated, ours in (
        (answer.environment, asked["environment"]),
        (answer.protocol_version, asked["protocol_version"]),
        (answer.action, asked.get("action")),
        (answer.session_id, proof.session_id),
    ):
        if repeated is not None and repeated != ours:
            return False
    if answer.results is None or [item.success for item in answer.results] != [True]:
        return False
    if proof.session_id is not None:
        return answer.session_id is not None
    try:
        return encoding.nullifier(answer.nullifier or "") == proof.nullifier
    except ValueError:
        return False


def _time(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
