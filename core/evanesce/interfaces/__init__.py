"""What plugins are and what they are given: the typed contracts between Evanesce and everything around it.

A plugin hands over objects that fulfil `Authenticator`, `Repository` or `Transport`; a transport is given a `Gateway`.
Whatever is called `async` here may be cancelled at any await, and must then leave nothing half done.
"""

from __future__ import annotations

from evanesce.interfaces.authentication import Accounts, Answered, Authenticator, Caller, Challenge, SignInPage
from evanesce.interfaces.http import HttpRequest, HttpResponse, HttpRoute
from evanesce.interfaces.persistence import Movable, Repository, Rows, Value
from evanesce.interfaces.setup import CliCommand, Settings, Setup
from evanesce.interfaces.transport import Connection, Gateway, Readiness, SignIn, Transport

__all__ = [
    "Accounts",
    "Answered",
    "Authenticator",
    "Caller",
    "Challenge",
    "CliCommand",
    "Connection",
    "Gateway",
    "HttpRequest",
    "HttpResponse",
    "HttpRoute",
    "Movable",
    "Readiness",
    "Repository",
    "Rows",
    "Settings",
    "Setup",
    "SignIn",
    "SignInPage",
    "Transport",
    "Value",
]
