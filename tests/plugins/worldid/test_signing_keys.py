"""Several signing keys: the first one signs, and what is answered for unknown codes does not change with it."""

from __future__ import annotations

from typing import Any

import pytest

from evanesce.errors import ConfigurationError
from evanesce_plugins.worldid import account_code
from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
from evanesce_plugins.worldid.challenges import Challenges
from evanesce_plugins.worldid.rp_signature import RpContext, Signer, recover
from evanesce_plugins.worldid.settings import check
from tests.plugins.worldid.results import settings

NEW, OLD, OTHER = "1" * 64, "0x" + "2" * 64, "3" * 64
STEPS: list[Any] = [OLD, [NEW, OLD], [OTHER, NEW, OLD]]
SIGNING = [OLD, NEW, OTHER]


def challenges(key: Any) -> Challenges:
    configured = settings(signing_key=key)
    return Challenges(configured, Signer(configured.signing_keys[0]))


@pytest.mark.parametrize(("key", "signing"), list(zip(STEPS, SIGNING, strict=True)))
def test_the_first_key_signs(key: Any, signing: str) -> None:
    context = challenges(key).sign_up().fields["rpContext"]
    request = RpContext(**{name: context[name] for name in RpContext.__struct_fields__})
    assert recover(request, settings().action) == Signer(signing).address


def test_an_unknown_code_is_answered_alike_before_and_after_a_turnover() -> None:
    code = account_code.new()
    answered = {challenges(key).sign_in(code, None).fields["sessionId"] for key in STEPS}
    assert len(answered) == 1
    assert challenges(NEW).sign_in(code, None).fields["sessionId"] not in answered


def test_each_key_has_to_be_one() -> None:
    assert WorldIdAuthenticator(settings(signing_key=[NEW, OLD]))
    with pytest.raises(ValueError, match="no key of secp256k1"):
        WorldIdAuthenticator(settings(signing_key=[NEW, "0" * 64]))


def test_a_key_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refused:
        check(settings(signing_key=["ab" * 32, NEW, "0x" + "AB" * 32]), "plugins.worldid")
    assert refused.value.path == "plugins.worldid.signing_key[2]"
