"""Peers that seek a scheduler before it is there may find themselves: the system may give them its very port."""

import pytest

from tests.engines.apt import require
from tests.engines.hosts import COMMANDS, PACKAGES, Hosts
from tests.integration.commands import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PORT = 40002


@pytest.fixture
def hosts():
    require("several hosts", COMMANDS, PACKAGES, as_root=True)
    with Hosts("only") as made:
        yield made


def test_a_peer_that_has_connected_to_itself_lets_the_scheduler_have_its_port(hosts):
    def set_ports(low, high):
        hosts.run("only", "sh", "-c", f"echo {low} {high} >/proc/sys/net/ipv4/ip_local_port_range")

    def has_found_itself():
        ends = [line.split()[-2:] for line in hosts.run("only", "ss", "-Htan").splitlines()]
        return any(this == that and this.endswith(f":{PORT}") for this, that in ends)

    set_ports(40000, 40003)  # one in two; else one in fourteen thousand
    with hosts.running("only", "scaler_worker.group", f"tcp://127.0.0.1:{PORT}", "g"):
        wait_until(has_found_itself)
        set_ports(32768, 60999)
        with hosts.running("only", "scaler_scheduler", f"tcp://127.0.0.1:{PORT}") as scheduler:
            scheduler.wait_for_line("is ready")
