"""The way of a request to the service: who may make one, how often, what it means, and what is logged of it."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from evanesce.admin import model
from evanesce.admin.audit_log import Operator, record, refuse
from evanesce.admin.http import HttpAnswer, HttpRequest, Refused
from evanesce.admin.openapi import document
from evanesce.admin.operations import OPENAPI, Operation, find, methods
from evanesce.admin.service import AdminService
from evanesce.errors import CommandError
from evanesce.limits.token_bucket import TokenBucket
from evanesce.logs import folded
from evanesce.protocol import codec

logger = logging.getLogger(__name__)

REQUESTS_PER_SECOND = 50
"""The rate of requests with the right token, and half of how many may come at once."""

REFUSALS_PER_SECOND = 2
"""The rate at which requests without the right token are answered and logged; more get 429 and no line."""

REFUSALS_AT_ONCE = 20

_CODES = {400: "bad_request", 401: "invalid_token", 403: "forbidden", 429: "rate_limited", 503: "internal"}
_UNLOGGED = frozenset({"text", "reason"})


class Access:
    """Checks requests and passes them to the service. Each of `tokens` is an operator's.

    `clock` returns seconds that never go back.
    """

    def __init__(
        self,
        service: AdminService,
        tokens: Sequence[str],
        admits_host: Callable[[str, str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._service = service
        self._digests = [_digest(token) for token in tokens]
        self._admits_host = admits_host
        self._requests = TokenBucket(REQUESTS_PER_SECOND, 2 * REQUESTS_PER_SECOND, clock)
        self._refusals = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, clock)

    async def answer(self, request: HttpRequest | Refused, who: Operator, local_address: str) -> HttpAnswer:
        """Answer a request that came to `local_address`, which is empty for a Unix socket."""
        try:
            if isinstance(request, Refused):
                raise request
            self._check(request, local_address)
        except Refused as refusal:
            return self._refused(refusal, who)
        return await self._carry_out(request, who)

    def _check(self, request: HttpRequest, local_address: str) -> None:
        """Raise `Refused` for a request that is not an operator's."""
        headers = request.headers
        # No page of a browser has a reason to be here, whatever name it reaches this address by.
        if any(name == "origin" or name.startswith("sec-fetch-") for name in headers):
            raise Refused(403, "Pages in browsers may not use this interface.")
        if local_address and not self._admits_host(headers.get("host", ""), local_address):
            raise Refused(421, "The Host header names another server. Use the address of admin.bind.")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip())
        if scheme.lower() != "bearer" or not any(hmac.compare_digest(given, digest) for digest in self._digests):
            raise Refused(401, "This needs the token of admin.token.", {"www-authenticate": "Bearer"})
        if wait := self._requests.take("requests"):
            raise Refused(429, "Too many requests. Wait a moment.", {"retry-after": str(round(wait + 0.5))})

    def _refused(self, refusal: Refused, who: Operator) -> HttpAnswer:
        if self._refusals.take("refusals"):
            refusal = Refused(429, "Too many requests that were refused. Wait a moment.", {"retry-after": "1"})
        else:
            refuse(who, f"{refusal.status} {refusal.message}")
        return _failure(refusal)

    async def _carry_out(self, request: HttpRequest, who: Operator) -> HttpAnswer:
        if request.method == "GET" and "/".join(request.segments) == OPENAPI:
            return HttpAnswer(200, document(), {})
        found = find(request.method, request.segments)
        if found is None:
            allowed = ", ".join(methods(request.segments))
            if allowed:
                return _failure(Refused(405, f"This path takes {allowed}.", {"allow": allowed}))
            return _failure(Refused(404, f"There is no such path. {OPENAPI} lists them."))
        operation, fields = found
        logged: dict[str, Any] = dict(fields)
        outcome = "done"
        try:
            fields |= _fields(operation, request)
            logged = {name: value for name, value in fields.items() if name not in _UNLOGGED}
            asked = msgspec.convert(fields, operation.request, strict=operation.has_body)
            answer = HttpAnswer(200, msgspec.json.encode(await self._service.execute(asked)), {})
        except msgspec.ValidationError as error:
            answer = _failure(Refused(400, codec.wording(error)), field=codec.field_of(error, ""))
            outcome = "400 bad_request"
        except Refused as refusal:
            answer = _failure(refusal)
            outcome = f"{refusal.status} {refusal.message}"
        except CommandError as error:
            answer = _command_failure(error)
            outcome = f"{error.code.http_status} {error.code.value}"
        except Exception as error:  # a fault of one request must not end the server
            logger.error("a request of an operator failed: %s", folded(error))
            answer = _failure(Refused(500, "A fault in the server. Its log says where."))
            outcome = "500 internal"
        except BaseException:  # it is cancelled: it took too long, the client left, or the server ends
            if operation.is_act:
                record(who, operation.name, logged, "given up before it ended")
            raise
        if operation.is_act:
            record(who, operation.name, logged, outcome)
        return answer


def _fields(operation: Operation, request: HttpRequest) -> dict[str, Any]:
    """Return the fields that are not in the path. Raises `Refused`."""
    if not operation.has_body:
        if request.body is not None:
            raise Refused(400, "This request has no body.")
        fields: dict[str, Any] = dict(request.query)
    else:
        if request.query:
            raise Refused(400, "The fields of this request are in its body.")
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "The body has to be JSON, with the content type application/json.")
        try:
            fields = msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused(400, "The body is not a JSON object.") from None
    if twice := set(fields) & set(operation.path_fields):
        raise Refused(400, f"The field {min(twice)} is in the path.")
    return fields


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _failure(refusal: Refused, *, field: str | None = None) -> HttpAnswer:
    code = _CODES.get(refusal.status, "internal" if refusal.status >= 500 else "bad_request")
    failure = model.Failure(code=code, message=refusal.message, field=field, retry=refusal.status in (429, 503))
    return HttpAnswer(refusal.status, msgspec.json.encode(failure), refusal.headers)


def _command_failure(error: CommandError) -> HttpAnswer:
    failure = model.Failure(code=error.code.value, message=error.message, field=error.field, retry=error.code.retry)
    return HttpAnswer(error.code.http_status, msgspec.json.encode(failure), {})
