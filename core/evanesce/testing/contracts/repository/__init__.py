"""The contract of repositories, which is many tests: a class of its own for each subject, and one of them all."""

from __future__ import annotations

from evanesce.testing.contracts.repository.accounts import AccountRows
from evanesce.testing.contracts.repository.bans import BanRows
from evanesce.testing.contracts.repository.cancellation import CancelledRows
from evanesce.testing.contracts.repository.invites import InviteRows
from evanesce.testing.contracts.repository.lost_connections import LostRows
from evanesce.testing.contracts.repository.options import OptionRows
from evanesce.testing.contracts.repository.providers import ProviderRows
from evanesce.testing.contracts.repository.records import RecordRows
from evanesce.testing.contracts.repository.retention import RetentionRows
from evanesce.testing.contracts.repository.rooms import RoomRows
from evanesce.testing.contracts.repository.rule_retention import RuleRetentionRows
from evanesce.testing.contracts.repository.user_bans import ListedRows, UserBanRows

__all__ = ["RepositoryContract", "RoomRulesContract"]


class RoomRulesContract(OptionRows, InviteRows, BanRows, RuleRetentionRows):
    """The part of `RepositoryContract` that is about options, invites, admissions and bans."""


class RepositoryContract(
    AccountRows,
    ProviderRows,
    RoomRows,
    RecordRows,
    LostRows,
    RetentionRows,
    RoomRulesContract,
    UserBanRows,
    ListedRows,
    CancelledRows,
):
    """The contract of a `Repository`. Override `make_repository`.

    It tests that what is stored comes out unchanged and in order, that a call may be repeated (its answer may have been
    lost), that bounds hold while two servers do the same at once, what an erasure removes, and that a call which is
    cancelled leaves nothing half done.
    """
