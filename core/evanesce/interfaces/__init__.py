"""The typed contracts between Evanesce and its plugins.

A plugin provides objects that implement `Authenticator`, `Repository` or `Transport`; a transport receives a `Gateway`.
Every `async` method may be cancelled at any await, and must then leave nothing half done.
"""

from __future__ import annotations

from evanesce.interfaces.authentication import Accounts, Answered, Authenticator, Caller, Challenge, SignInPage
from evanesce.interfaces.backups import Backup, Backups, Examination, Restored
from evanesce.interfaces.handover import Handover, TakeConnection
from evanesce.interfaces.http import HttpRequest, HttpResponse, HttpRoute, StaticFile
from evanesce.interfaces.persistence import (
    MOST_CHECKED,
    Inspection,
    RedisBinding,
    Repository,
    Rows,
    TableCopy,
    Value,
)
from evanesce.interfaces.running import Server, SharedLimits, SharedMarks
from evanesce.interfaces.setup import SECRET_PATH, CliCommand, Finding, Settings, Setup
from evanesce.interfaces.transport import Connection, Gateway, Readiness, SignIn, Transport

__all__ = [
    "MOST_CHECKED",
    "SECRET_PATH",
    "Accounts",
    "Answered",
    "Authenticator",
    "Backup",
    "Backups",
    "Caller",
    "Challenge",
    "CliCommand",
    "Connection",
    "Examination",
    "Finding",
    "Gateway",
    "Handover",
    "HttpRequest",
    "HttpResponse",
    "HttpRoute",
    "Inspection",
    "Readiness",
    "RedisBinding",
    "Repository",
    "Restored",
    "Rows",
    "Server",
    "Settings",
    "Setup",
    "SharedLimits",
    "SharedMarks",
    "SignIn",
    "SignInPage",
    "StaticFile",
    "TableCopy",
    "TakeConnection",
    "Transport",
    "Value",
]
