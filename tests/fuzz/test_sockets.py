"""Every attack once on real processes; again and again with other seeds by `hatch run fuzz`."""

from random import Random

import pytest

from scaler_protocol import messages as m
from tests.fuzz import attacks
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
    mine, address = attacks.register(), service.address_of["scheduler"]
    with Wire(address) as owner, Wire(address) as thief:
        owner.greet()
        owner.message(attacks.packet(mine))
        assert isinstance(owner.answer().messages[0], m.Registered)
        thief.greet()
        thief.message(attacks.packet(attacks.register(session_id=mine.session_id)))
        assert isinstance(thief.answer().messages[0], m.Refused)
