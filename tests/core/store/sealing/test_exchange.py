"""Servers that know the secret get each other's keys; nobody else does, and no later one either."""

from __future__ import annotations

import msgspec
import pytest

from evanesce.store.sealing import exchange
from evanesce.store.sealing.exchange import NOTICE_BYTES, PEERS, SILENT_SECONDS, KeyExchange
from evanesce.store.sealing.keyring import Keyring

NOW, TTL = 1_790_000_000_123, 60_000


class Server:
    def __init__(self, name: str, secret: str = "secret") -> None:
        self.keyring = Keyring(TTL, NOW)
        self.exchange = KeyExchange(self.keyring, secret, name)

    def has(self, other: Server) -> bool:
        return other.keyring.own in self.keyring.known


def talk(*servers: Server, first: bytes) -> list[bytes]:
    """Send every notice to all servers until none is said any more; return all that were said."""
    said, waiting = [], [first]
    while waiting:
        notice = waiting.pop(0)
        said.append(notice)
        assert len(said) < 100 * len(servers), "they do not stop"
        for server in servers:
            replies = server.exchange.receive(notice, 0.0)
            waiting += [*replies.offers, *([server.exchange.greeting()] if replies.greet else [])]
    return said


def test_one_greeting_is_enough_for_two_servers() -> None:
    ada, bob = Server("ada"), Server("bob")
    talk(ada, bob, first=ada.exchange.greeting())
    assert ada.has(bob)
    assert bob.has(ada)
    assert (ada.exchange.peers, bob.exchange.peers) == (1, 1)


def test_a_greeting_among_those_who_know_each_other_is_not_answered() -> None:
    servers = [Server(str(number)) for number in range(6)]
    for server in servers:
        talk(*servers, first=server.exchange.greeting())
    assert all(one.has(other) for one in servers for other in servers)
    assert len(talk(*servers, first=servers[0].exchange.greeting())) == 1


def test_a_newcomer_gets_the_chains_of_servers_that_have_ended() -> None:
    ada, bob, cyd = Server("ada"), Server("bob"), Server("cyd")
    talk(ada, bob, first=ada.exchange.greeting())
    talk(bob, cyd, first=cyd.exchange.greeting())
    assert cyd.has(ada)
    cyd.keyring.advance(NOW + 2 * TTL)
    assert not cyd.has(ada)
    assert cyd.has(bob)


def test_a_silent_server_is_forgotten_and_may_come_back() -> None:
    ada, bob = Server("ada"), Server("bob")
    talk(ada, bob, first=ada.exchange.greeting())
    ada.exchange.forget_silent(SILENT_SECONDS)
    assert ada.exchange.peers == 1
    ada.exchange.forget_silent(SILENT_SECONDS + 1)
    assert ada.exchange.peers == 0
    talk(ada, bob, first=bob.exchange.greeting())
    ada.keyring.advance(NOW + 2 * TTL)
    assert ada.has(bob)


def test_after_a_renewal_old_offers_are_of_no_use() -> None:
    ada, bob = Server("ada"), Server("bob")
    said = talk(ada, bob, first=ada.exchange.greeting())
    for server in (ada, bob):
        server.exchange.renew()
        server.exchange.renew()
    again = Server("bob")  # who takes over with the secret and everything that was said, but without the private keys
    for notice in said:
        again.exchange.receive(notice, 0.0)
    assert not again.has(ada)


def test_an_offer_that_is_under_way_at_a_renewal_is_read() -> None:
    ada, bob = Server("ada"), Server("bob")
    talk(ada, bob, first=ada.exchange.greeting())
    bob.keyring.renew(NOW)
    offers = bob.exchange.offer_own()
    ada.exchange.renew()
    for offer in offers:
        ada.exchange.receive(offer, 0.0)
    assert ada.has(bob)


def test_no_notice_shows_a_key() -> None:
    ada, bob = Server("ada"), Server("bob")
    said = b"".join(talk(ada, bob, first=ada.exchange.greeting()))
    for server in (ada, bob):
        state = server.keyring.export(server.keyring.own)[24:]
        for form in (state[:32], state[32:]):
            assert form not in said
            assert msgspec.json.encode(form)[1:-2] not in said


def test_a_server_with_another_secret_gets_nothing() -> None:
    ada, eve = Server("ada"), Server("eve", "another")
    with pytest.raises(ValueError, match="another secret"):
        ada.exchange.receive(eve.exchange.greeting(), 0.0)
    with pytest.raises(ValueError, match="another secret"):
        eve.exchange.receive(ada.exchange.greeting(), 0.0)
    assert ada.exchange.peers == eve.exchange.peers == 0


def test_every_changed_byte_is_noticed() -> None:
    ada, bob = Server("ada"), Server("bob")
    notice = ada.exchange.greeting()
    for place in range(0, len(notice), 7):
        changed = notice[:place] + bytes([notice[place] ^ 1]) + notice[place + 1 :]
        try:
            bob.exchange.receive(changed, 0.0)
        except ValueError:
            assert bob.exchange.peers == 0
        else:
            pytest.fail("it was accepted")


DEEP = b'{"x":' + b"[" * 30_000


@pytest.mark.parametrize("notice", [b"", b"{}", b"[]", b"\xff", b"x" * (NOTICE_BYTES + 1), b"[" * 5_000, DEEP])
def test_what_is_no_notice_is_refused(notice: bytes) -> None:
    with pytest.raises(ValueError, match="notice"):
        Server("ada").exchange.receive(notice, 0.0)


def test_there_is_a_bound_on_servers() -> None:
    ada = Server("ada")
    bob = Server("bob")
    for number in range(PEERS):
        ada.exchange.receive(KeyExchange(bob.keyring, "secret", str(number)).greeting(), 0.0)
    with pytest.raises(ValueError, match="too many"):
        ada.exchange.receive(bob.exchange.greeting(), 0.0)
    assert ada.exchange.peers == PEERS


@pytest.mark.parametrize("public", [b"", b"short", bytes(32), b"\x01" + bytes(31), b"x" * 33])
def test_a_server_without_a_valid_public_key_is_not_known(public: bytes) -> None:
    ada, bob = Server("ada"), Server("bob")
    greeting = bob.exchange._sign(exchange._Greeting("bob", public, bob.keyring.own, [bob.keyring.own]))
    with pytest.raises(ValueError):  # noqa: PT011 (the library has its own texts)
        ada.exchange.receive(greeting, 0.0)
    assert ada.exchange.peers == 0
    assert ada.exchange.offer_own() == []


def test_a_chain_that_cannot_be_taken_leaves_the_others() -> None:
    ada, bob = Server("ada"), Server("bob")
    talk(ada, bob, first=ada.exchange.greeting())
    cyd = Server("cyd")
    cyd.keyring.advance(NOW + 10 * 86_400_000)  # its clock is wrong
    talk(ada, cyd, first=cyd.exchange.greeting())
    assert ada.has(bob)
    assert not ada.has(cyd)
