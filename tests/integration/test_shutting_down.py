"""A client ends a cluster that is not protected: scheduler, workers, object storage, and the futures of all clients."""

import os
import time
from pathlib import Path

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import ClientQuitException, ClientShutdownException
from tests.integration.commands import wait_until
from tests.integration.test_client_contract import USES
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration


def test_shutting_down_ends_scheduler_and_workers():
    with nothing_left() as note:
        combo = SchedulerClusterCombo(n_workers=1, protected=False, logging_level="WARNING")
        client, other = Client(combo.get_address()), Client(combo.get_address())
        worker = client.submit(os.getpid).result()
        pending = other.submit(time.sleep, 600)
        note()
        client.shutdown()
        with pytest.raises(ClientShutdownException):
            pending.result(60)
        for use in USES.values():
            with pytest.raises(ClientQuitException):
                use(client)
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
        with pytest.raises(TimeoutError):
            Client(combo.get_address(), timeout_seconds=0.2)
        combo.shutdown()
