"""What the options become. The program itself: tests/integration/test_scheduler_process.py."""

from scaler_protocol.addresses import Address
from scaler_scheduler.config import PolicyConfig, SchedulerConfig
from scaler_scheduler.server import _settings

ADDRESS = Address("tcp", "127.0.0.1", 1)


def test_every_option_of_the_core_arrives():
    config = SchedulerConfig(
        ADDRESS,
        protected=True,
        max_number_of_tasks_waiting=2,
        worker_timeout_seconds=3,
        object_retention_seconds=4,
        load_balance_seconds=5,
        load_balance_trigger_times=6,
        policy=PolicyConfig(policy_content="allocate=capability; scaling=no"),
        task_retry_limit=7,
    )

    settings = _settings(config, ADDRESS, bytes(16))

    assert settings.protected
    assert settings.max_number_of_tasks_waiting == 2
    assert settings.worker_timeout_seconds == 3
    assert settings.object_retention_seconds == 4
    assert (settings.load_balance_seconds, settings.load_balance_trigger_times) == (5, 6)
    assert settings.policies.allocate.heeds_capabilities
    assert settings.task_retry_limit == 7
