"""The main job with an installed Evanesce: sign in, open a room, two terminals talk, and the message is gone.

Usage: main_job.py EVANESCE, in an empty folder. Needs nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from typing import IO

EVANESCE = sys.argv[1]
SECONDS = 30.0


def request(base: str, path: str, body: dict[str, str], token: str | None = None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    post = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(post, timeout=10) as answer:
        parsed: dict[str, str] = json.load(answer)
        return parsed


def get(base: str, path: str) -> bytes:
    with urllib.request.urlopen(base + path, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def line_with(stream: IO[str], text: str) -> str:
    for line in stream:
        if text in line:
            return line
    raise SystemExit(f"the stream ended without {text!r}")


def start(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [EVANESCE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    stack.callback(process.kill)
    return process


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def refuse_what_is_not_installed() -> None:
    """The libraries of some plugins are extras, which this lean install has not: the errors have to say so."""
    worldid = [
        "plugins.enabled=['worldid','sqlite','quart']",
        "plugins.worldid.app_id=app_x",
        "plugins.worldid.rp_id=rp_1",
        "plugins.worldid.action=x",
        f"plugins.worldid.signing_key={'ab' * 32}",
    ]
    oidc = [
        "plugins.enabled=['oidc','sqlite','quart']",
        "plugins.oidc.issuer=https://id.example",
        "plugins.oidc.client_id=x",
    ]
    passkey = ["plugins.enabled=['passkey','sqlite','quart']", "server.public_url=https://chat.example"]
    webhooks = [
        "plugins.enabled=['guest','sqlite','quart','webhooks']",
        "plugins.webhooks.urls=['https://receiver.example']",
        f"plugins.webhooks.secret=whsec_{'ab' * 24}",
    ]
    turso = ["plugins.enabled=['guest','turso','quart']", "plugins.turso.url=libsql://db.example"]
    extras = {"worldid": worldid, "oidc": oidc, "passkey": passkey, "turso": turso, "webhooks": webhooks}
    for extra, settings in extras.items():
        command = [EVANESCE, "check", *(word for setting in settings for word in ("--set", setting))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 2, done
        assert f"pip install 'evanesce[{extra}]'" in done.stderr, done.stderr


def main() -> None:
    signal.alarm(120)  # nothing here waits for ever
    refuse_what_is_not_installed()
    base = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        settings = ["--set", f"plugins.quart.bind={base.removeprefix('http://')}", "--set", f"server.public_url={base}"]
        server = start(stack, "serve", *settings, "--set", "messages.ttl=2")
        assert server.stdout is not None
        assert line_with(server.stdout, "listening on").strip() == f"listening on {base}"
        modules = re.findall(r'<meta name="sign-in" content="([^"]+)"', get(base, "/").decode())
        assert modules
        for module in modules:
            assert b"export default" in get(base, module), module
        token = request(base, "/api/v1/session", {"provider": "guest", "displayName": "Opener"})["token"]
        link = request(base, "/api/v1/rooms", {}, token)["deepLink"]
        ada, bob = (start(stack, "chat", link, "--name", name) for name in ("Ada", "Bob"))
        assert ada.stdout is not None
        assert bob.stdout is not None
        line_with(ada.stdout, "Bob")
        say(ada, "שלום 👩‍👩‍👧 𝄞")
        line_with(bob.stdout, "שלום 👩‍👩‍👧 𝄞")
        say(bob, "heard")
        line_with(ada.stdout, "heard")
        time.sleep(2.5)  # the life of the message, and a little more: what is shown is that it is over
        late = start(stack, "chat", link, "--name", "Late")
        assert late.stdout is not None
        seen = ""
        for line in late.stdout:
            seen += line
            if "you are in the room" in line:  # which it may be only after the life of a message
                say(ada, "only this")
            if "only this" in line:
                break
        assert "heard" not in seen, "a message outlived its TTL"
        for chat in (ada, bob, late):
            say(chat, "/quit")
            assert chat.wait(SECONDS) == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0
        left = sorted(os.listdir("."))
        print(f"talked, and it is gone; left in the folder: {left}")


main()
