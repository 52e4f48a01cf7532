"""Every attack once on real processes; again and again with other seeds by `hatch run fuzz`."""

from random import Random

import pytest

from scaler_protocol import messages as m
from tests.fuzz import attacks, peers
from tests.fuzz.service import Service
from tests.fuzz.wire import Wire

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def service():
    with Service() as service:
        yield service


CASES = [(target, attack) for target, those in attacks.ON.items() for attack in those]


@pytest.mark.parametrize(("target", "attack"), CASES, ids=[f"{target}-{attack.__name__}" for target, attack in CASES])
def test_an_attack_changes_nothing_for_others(service, target, attack):
    service.attack(target, attack, seed=1)


def test_what_is_dropped_is_logged_at_a_limited_rate(service):
    with Wire(service.address_of["scheduler"]) as wire:
        wire.greet()
        for _ in range(1000):
            wire.message([b"\xff" * 8])
    service.prove_alive()

    lines = service.command_of["scheduler"].lines
    assert sum("dropped from peer" in line for line in lines) < 100
    assert any("dropped from peer" in line for line in lines)


def test_a_client_without_credit_is_told_why(service):
    attacks.without_credit(service.address_of["scheduler"], Random(2))
    line = service.command_of["scheduler"].wait_for_line("is sent away")

    assert "more than" in line


def test_a_stranger_cannot_take_the_session_of_another(service):
    mine, address = peers.register(), service.address_of["scheduler"]
    with Wire(address) as owner, Wire(address) as thief:
        owner.greet()
        owner.message(peers.packet(mine))
        assert isinstance(owner.answer().messages[0], m.Registered)
        thief.greet()
        thief.message(peers.packet(peers.register(session_id=mine.session_id)))
        assert isinstance(thief.answer().messages[0], m.Refused)


def test_a_client_at_work_does_not_notice_strangers_that_claim_its_session(service):
    address = service.address_of["scheduler"]
    session_id = bytes.fromhex(service.client.identity.decode().rpartition("|")[2])
    for number in range(100):
        with Wire(address) as thief:
            thief.greet()
            thief.message(peers.packet(peers.register(session_id=session_id, secret=bytes([number]) * 16)))
            assert isinstance(thief.answer().messages[0], m.Refused)
            thief.message(peers.packet(m.AbandonBatches(list(range(1000))), first=1))
    service.prove_alive()
