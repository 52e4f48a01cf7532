"""Some hundred simulations in every test run; thousands by `hatch run simulate --seeds 2000`."""

import os
import subprocess
import sys
from dataclasses import fields

import pytest

from tests.simulation.adapter_fleet import Fleet
from tests.simulation.faults import NONE, Faults
from tests.simulation.nested import MAX_DEPTH
from tests.simulation.simulation import Simulation
from tests.simulation.throughput import Load
from tests.simulation.world import World

SEEDS = 200
_PART = 20


@pytest.mark.parametrize("first", range(0, SEEDS, _PART))
def test_nothing_unsafe_happens_and_all_ends_well(first):
    for seed in range(first, first + _PART):
        Simulation(seed).run()


def test_without_faults_every_task_runs_once_and_nothing_waits_for_long():
    for seed in range(10):
        simulation = Simulation(seed, NONE)
        simulation.run()
        outcomes = [
            status.name
            for client in simulation.clients
            for batch in client.batches.values()
            for task, status in batch.outcomes.items()
            if task not in batch.cancelled
        ]
        assert set(outcomes) == {"VALUES"}
        assert simulation.world.now - 1000.0 < 60.0


def test_nesting_takes_no_more_helpers_than_it_is_deep():
    most = []
    for seed in range(12):
        simulation = Simulation(seed, NONE)
        sites, hosts = simulation.sites, set()
        simulation.world.after_each = lambda sites=sites, hosts=hosts: hosts.update(
            host for site in sites for host in site.hosts.values()
        )
        simulation.run()
        most.append(max(host.most_helpers for host in hosts))

    assert max(most) == MAX_DEPTH


def test_the_seeds_bring_every_fault():
    drawn = [World(seed).faults for seed in range(SEEDS)]

    for field in fields(Faults):
        assert sum(getattr(faults, field.name) > 0 for faults in drawn) > SEEDS / 4, field.name


def test_a_seed_is_the_same_story_in_every_process():
    stories = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "8"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert len(stories[0]) > 1000
    assert stories[0] == stories[1]


def test_the_load_that_measures_the_core_is_worked_off():
    load = Load(20)
    load.run(2000)

    load.core.state.check()
    assert load.slices < 2000
    assert min(*load.beat(), load.decide()) >= 0.0


def test_a_fleet_of_adapters_has_all_its_groups_and_lets_them_go():
    costs = Fleet(10, 100).run()

    assert costs.groups == 100
    assert costs.events < 10 * 100
