"""An HTTP client for services of others, such as identity providers, whose answers are bounded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version

import httpx2
import msgspec
import trio

from evanesce.confidential import Confidential

CONNECTIONS = 20
"""The most concurrent requests; others wait, within the deadline of the caller."""

CLOSE_SECONDS = 1.0
"""How long closing all connections may take, in seconds."""

ANSWER_BYTES = 64 * 1024
"""The largest response that is read."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The hosts that may be addressed without encryption, so that no proxy of the environment may be between."""

# At INFO it logs the address of every request.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class NoAnswer(Exception):
    """There is no answer that can be used. `problem` is the reason, for the deployer."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Answer(Confidential, msgspec.Struct, frozen=True):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ProviderClient:
    """A client, used by `async with`. It has no deadline of its own: the caller has one for each call."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient

    async def __aenter__(self) -> ProviderClient:
        self._client = httpx2.AsyncClient(
            headers={
                "User-Agent": f"evanesce/{version('evanesce')}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            mounts={f"all://{host}": None for host in LOOPBACK},
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            timeout=None,  # the client's time-outs are for each read
            follow_redirects=False,
        )
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):  # the closing message of TLS may have to wait for the peer
            await self._client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request with a body, or a form, and return the answer: its status is 200, or from 400 to 499.

        Raises `NoAnswer`, also for a redirect and a fault.
        """
        answer = await self.exchange(method, url, content=content, form=form, headers=headers)
        if answer.status != 200 and not 400 <= answer.status < 500:
            raise NoAnswer(f"it answered HTTP {answer.status}")
        return answer

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, and return the answer, whatever its status is. Raises `NoAnswer`."""
        try:
            return await self._request(method, url, content, form, headers)
        except httpx2.ConnectError:
            problem = "it cannot be connected to"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            problem = f"the connection to it failed ({type(error).__name__})"
        raise NoAnswer(problem)

    async def _request(
        self,
        method: str,
        url: str,
        content: bytes | None,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        async with self._client.stream(method, url, content=content, data=form, headers=headers) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():  # a compressed response is invalid
                # Read to the end, or to the deadline: an iterator of this client that is left early is not closed.
                if len(body) <= ANSWER_BYTES:
                    body += chunk
        if len(body) > ANSWER_BYTES:
            raise NoAnswer(f"it gave an answer of over {ANSWER_BYTES} bytes")
        return Answer(response.status_code, response.headers, bytes(body))
