"""What Schemathesis has to know of Evanesce. It runs in Schemathesis' own environment, which lacks Evanesce."""

from __future__ import annotations

from typing import Any

import requests
import schemathesis

SECONDS = 30.0
ENDS_THE_SIGN_IN = frozenset({"sign_out", "forget_me"})


class Server:
    """The server under test, with the guest that signs the requests: it owns the rooms that they create."""

    def __init__(self) -> None:
        self._url = ""
        self._token = ""

    def token(self, url: str) -> str:
        """Return the token of the guest, on the server at `url`."""
        if not self._token:
            self._url = url
            self._token = str(self.new_guest(url)["token"])
        return self._token

    def new_guest(self, url: str) -> dict[str, Any]:
        """Return the answer to the sign-in of another guest."""
        return self._post(url, "session", {"provider": "guest", "displayName": "Schemathesis"}, {})

    def new_room(self) -> str:
        """Return the id of a room of the guest's."""
        return str(self._post(self._url, "rooms", {}, {"Authorization": f"Bearer {self._token}"})["roomId"])

    def somebody_else(self) -> str:
        """Return the id of another user."""
        return str(self.new_guest(self._url)["userId"])

    @property
    def known(self) -> bool:
        """Whether a request was signed already."""
        return bool(self._token)

    def _post(self, url: str, path: str, body: object, headers: dict[str, str]) -> dict[str, Any]:
        answer = requests.post(f"{url.rstrip('/')}/api/v1/{path}", json=body, headers=headers, timeout=SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


SERVER = Server()


@schemathesis.auth(refresh_interval=None)
class Guest:
    """Signs requests. One that ends the sign-in gets a guest of its own.

    Whoever signs in has no token: the credential of a guest is a new account, which a token of another one forbids.
    """

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str | None:
        url = context.operation.schema.get_base_url()
        operation = context.operation.definition.raw.get("operationId")
        if operation == "sign_in":
            return None
        return SERVER.new_guest(url)["token"] if operation in ENDS_THE_SIGN_IN else SERVER.token(url)

    def set(self, case: schemathesis.Case, data: str | None, context: schemathesis.AuthContext) -> None:
        if data is not None:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: dict[str, Any] | None) -> Any:
    """Put a room and a person that exist in the place of half of the ids: most others are not found."""
    if not path_parameters or not SERVER.known:
        return path_parameters
    real = {"roomId": SERVER.new_room, "userId": SERVER.somebody_else}
    return {
        name: real[name]() if name in real and isinstance(value, str) and value[:1] in "01234567" else value
        for name, value in path_parameters.items()
    }
