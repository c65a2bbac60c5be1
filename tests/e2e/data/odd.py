"""A faulty plugin: the environment variable ODD selects where it fails, hangs or exits."""

import os
import sys
import time

import msgspec
import trio

from evanesce.hookspecs import hookimpl

SECRET = "S3CR3T-content"

ODD = os.environ["ODD"]


async def hang_shielded():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


if ODD == "import":
    sys.exit(SECRET)
if ODD == "import slowly":
    print("importing", flush=True)
    time.sleep(60)


class Settings(msgspec.Struct):
    def __post_init__(self):
        if ODD == "read settings":
            sys.exit(SECRET)


@hookimpl
def evanesce_settings():
    if ODD == "settings":
        sys.exit(SECRET)
    return Settings


@hookimpl
def evanesce_configure():
    if ODD == "build":
        sys.exit(SECRET)


class Odd:
    binds = ()
    provider = "odd"
    loopback_only = True

    async def __aenter__(self):
        if ODD == "open":
            sys.exit(SECRET)
        if ODD == "open slowly":
            print("opening", flush=True)
            await trio.sleep_forever()
        if ODD == "open shielded":
            print("opening", flush=True)
            await hang_shielded()

    async def __aexit__(self, *error):
        if ODD == "close":
            sys.exit(SECRET)

    async def challenge(self, request, caller): ...

    async def authenticate(self, credential, caller, answered): ...

    async def check(self):
        if ODD == "check":
            sys.exit(SECRET)
        return "well"

    async def serve(self, gateway, *, task_status=trio.TASK_STATUS_IGNORED):
        if ODD == "transport does not start":
            await trio.sleep_forever()
        task_status.started([])
        await trio.sleep(1)
        if ODD == "transport ends":
            sys.exit(SECRET)
        await trio.sleep_forever()


evanesce_sees_content = True


@hookimpl
def evanesce_authenticator():
    return Odd()


@hookimpl
def evanesce_transport():
    return Odd()


@hookimpl
async def evanesce_filter_message(draft):
    if ODD == "filter":
        sys.exit(draft.content)
    if ODD == "filter hangs":
        await hang_shielded()


@hookimpl
async def evanesce_member_joined(display_name):
    if ODD == "observer":
        sys.exit(display_name)
