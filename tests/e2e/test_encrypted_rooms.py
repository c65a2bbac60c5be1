"""People in an encrypted room, which one of them creates in a terminal, and the others enter by an invite.

Neither Redis nor the database nor any frame holds what they write, or the key.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import pytest

from evanesce.client.links import DeepLink
from tests.e2e.browsers import BrowserClient
from tests.e2e.running import Server
from tests.e2e.terminals import Terminal
from tests.patience import PATIENCE
from tests.process_memory import copies

pytestmark = pytest.mark.slow

SAID = "a canary of Ana"
ANSWERED = "a canary of Ben"


class Wiretap:
    """A proxy in front of a server. `requests` are the heads of requests, `frames` the bytes of the server.

    Frames of clients are masked, but the server sends the content of each on as it is.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.frames = bytearray()
        self._thread = threading.Thread(target=self._accept)
        self._ending = threading.Event()
        self._pairs: list[threading.Thread] = []

    def __enter__(self) -> Wiretap:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._listener.close()
        for thread in (self._thread, *self._pairs):
            thread.join(PATIENCE)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(client,))
                self._pairs.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server.port)) as server, suppress(OSError):
            other = {client: server, server: client}
            head = b""
            while not self._ending.is_set():
                for source in select.select([client, server], [], [], 0.2)[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if source is server:
                        self.frames += data
                    elif b"\r\n\r\n" not in head:
                        head += data
                        if b"\r\n\r\n" in head:
                            self.requests.append(head.partition(b"\r\n\r\n")[0])
                    other[source].sendall(data)


def link_of(line: str) -> str:
    """Return the link in a line of a terminal."""
    return line[line.index("http://") :]


def invited(ana: Terminal, server: Server, port: int, people: int = 1) -> str:
    """Let the creator of a room invite people, and return the link, at `port` in place of the server's."""
    ana.type(f"/invite {people}")
    link = link_of(ana.sees("&invite="))
    return link.replace(f":{server.port}/", f":{port}/")


def test_two_terminals(server: Server) -> None:
    with Wiretap(server) as wire:
        address = f"http://127.0.0.1:{wire.port}"
        options = ("--new", "--encrypted", "--ttl", "30", "--invite-only")
        with Terminal(address, "Ana", *options) as ana:
            room = DeepLink.parse(link_of(ana.sees("* the link of your room: ")))
            assert room.key is not None
            ana.sees("about this room: it is end-to-end encrypted, messages live for 30 seconds, only invited people")
            with Terminal(f"{address}/r/{room.room_id}#k={room.key.text}", "Eve") as eve:
                code, errors = eve.ends()
                assert code == 1
                assert "Ask for a link with an invite" in errors
            link = invited(ana, server, wire.port)
            secret = DeepLink.parse(link).invite
            assert secret is not None
            with Terminal(link, "Ben") as ben:
                ben.sees("* you are in the room: 2 people: Ana, Ben")
                ana.type(SAID)
                assert ben.sees("Ana: ") == f"Ana: {SAID}"
                ben.type(f"/reply {ANSWERED}")
                assert ana.sees("Ben, ") == f"Ben, in reply to you: {ANSWERED}"
                with Terminal(link, "Mallory") as mallory:
                    code, errors = mallory.ends()
                    assert code == 1
                    assert "Ask for a new invite" in errors
                secrets = [SAID, ANSWERED, room.key.text, SAID[2:], ANSWERED[2:]]
                needles = [one.encode() for one in secrets]
                assert server.process is not None
                for pid in (server.process.pid, server.valkey()[0]):
                    assert copies(pid, needles) == [0] * len(needles)
                ben.type("/quit")
                assert ben.ends() == (0, "")
            ana.type("/quit")
            assert ana.ends() == (0, "")
    for file in server.folder.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not any(needle in content for needle in (*needles, secret.encode())), file
    assert b'"type":"message"' in wire.frames
    for needle in needles:
        assert needle not in wire.frames
    assert len(wire.requests) >= 4, "each client opens a connection"
    for head in wire.requests:
        assert head.startswith(b"GET /ws")
        for never in (b"#", secret.encode(), room.key.text.encode()):
            assert never not in head


def test_a_creator_at_a_terminal_keeps_order(server: Server) -> None:
    with Terminal(server.url, "Ana", "--new") as ana:
        link = link_of(ana.sees("* the link of your room: "))
        with Terminal(link, "Ben") as ben, Terminal(link, "Ben") as other, Terminal(link, "Cleo") as cleo:
            for one in (ben, other, cleo):
                one.sees("you are in the room")
            ana.type("/lock")
            ben.sees("changed it: it is locked: nobody else may join")
            with Terminal(link, "Late") as late:
                code, errors = late.ends()
                assert code == 1
                assert "Its creator can let you in with /unlock." in errors
            ana.type("/ttl 20")
            ben.sees("changed it: messages live for 20 seconds")
            ana.type("/mute Ben 60")
            ana.sees("* 2 people are meant by Ben: write #")
            ana.type("/mute Cleo 60")
            ben.sees("* Cleo may not write for 1 minute")
            cleo.sees("* you may not write for 1 minute")
            cleo.type("hello?")
            cleo.sees("* not sent: ")
            ana.type("/unmute cleo")
            cleo.sees("* you may write again")
            ana.type("/ban Cleo 3600")
            ben.sees("* Cleo was removed")
            cleo.sees("* you were removed from this room by its creator. You can come back in ")
            assert cleo.ends() == (0, "")
            ana.type("/bans")
            ana.sees("* Cleo (#")
            ana.type("/unban Cleo")
            ana.type("/bans")
            ana.sees("* nobody is banned")
            ben.type("/unlock")
            ben.sees("* Only the creator")


@pytest.mark.browser
def test_a_page_and_a_terminal(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    with Terminal(server.url, "Ana", "--new", "--encrypted", "--invite-only") as ana:
        room = DeepLink.parse(link_of(ana.sees("* the link of your room: ")))
        assert room.key is not None
        link = invited(ana, server, server.port)
        ben = browser_client()
        ben.sign_in(link, "Ben")
        ben.in_room(2)
        assert ben.page.url == f"{server.url}/r/{room.room_id}", "without the key and the invite"
        ana.type(SAID)
        ben.sees(SAID)
        ben.say(ANSWERED)
        assert ana.sees("Ben: ") == f"Ben: {ANSWERED}"
        ben.page.reload()
        ben.in_room(2)
        ben.sees("This message cannot be opened.")
        assert ben.page.is_disabled("#composer-text"), "nothing is sent in plain text"
        ben.page.goto(f"{ben.page.url}#k={room.key.text}")
        ben.in_room(2)
        ben.sees(SAID)
        ana.type("/remove Ben 3600")
        ben.shows("#stopped-title:has-text('You are not in this room any more')")
        ben.shows("text=The creator of the room has removed you. You can come back in")
        ben.page.click("#stopped a")
        ben.page.goto(link)
        ben.shows("text=You are banned from this room for")
        with Terminal(f"{server.url}/r/{room.room_id}", "Cleo") as cleo:
            assert "Ask for a link with an invite" in cleo.ends()[1]
