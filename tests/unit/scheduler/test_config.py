"""The options of the scheduler: names, defaults, rules."""

import pickle

import pytest

from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError, option_fields
from scaler_scheduler.config import PolicyConfig, SchedulerConfig

ADDRESS = Address("tcp", "127.0.0.1", 8516)


def test_keys_short_flags_and_defaults_in_the_order_of_the_contract():
    assert [(item.key, item.option.short, item.default) for item in option_fields(SchedulerConfig)][1:] == [
        ("object_storage_address", "-osa", None),
        ("monitor_address", "-ma", None),
        ("protected", "-p", False),
        ("max_number_of_tasks_waiting", "-mt", -1),
        ("client_timeout_seconds", "-ct", 60),
        ("worker_timeout_seconds", "-wt", 60),
        ("object_retention_seconds", "-ot", 60),
        ("load_balance_seconds", "-ls", 1),
        ("load_balance_trigger_times", "-lbt", 2),
        ("event_loop", "-el", "builtin"),
        ("worker_io_threads", "-wit", 1),
        ("logging_paths", "-lp", ("/dev/stdout",)),
        ("logging_config_file", "-lcf", None),
        ("logging_level", "-ll", "INFO"),
        ("policy_engine_type", "-et", "simple"),
        ("policy_content", "-pc", "allocate=even_load; scaling=no"),
        ("task_retry_limit", "-trl", 3),
    ]
    assert option_fields(SchedulerConfig)[0].option.positional


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"max_number_of_tasks_waiting": -2}, "max_number_of_tasks_waiting must be a whole number >= -1, not -2"),
        ({"client_timeout_seconds": 0}, "client_timeout_seconds must be a whole number >= 1, not 0"),
        ({"worker_timeout_seconds": 0}, "worker_timeout_seconds must be a whole number >= 1, not 0"),
        ({"object_retention_seconds": 0}, "object_retention_seconds must be a whole number >= 1, not 0"),
        ({"load_balance_seconds": 0}, "load_balance_seconds must be a whole number >= 1, not 0"),
        ({"load_balance_trigger_times": 0}, "load_balance_trigger_times must be a whole number >= 1, not 0"),
        ({"task_retry_limit": -1}, "task_retry_limit must be a whole number >= 0, not -1"),
        ({"object_storage_address": ADDRESS.with_port(0)}, "object_storage_address must be an address with a port"),
    ],
)
def test_values_out_of_range_are_refused(values, text):
    with pytest.raises(ConfigError, match=text):
        SchedulerConfig(ADDRESS, **values)


def test_free_ports_may_be_bound():
    config = SchedulerConfig(ADDRESS.with_port(0), monitor_address=ADDRESS.with_port(0))
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("text", ["", "allocate=even_load", "allocate=even_load; scaling=bogus", "x=y"])
def test_a_policy_that_is_none_is_refused_by_the_name_of_its_option(text):
    with pytest.raises(ConfigError, match=r"^policy_content: ") as refused:
        PolicyConfig(policy_content=text)
    assert refused.value.keys == ("policy_content",)


def test_only_the_simple_engine_exists():
    with pytest.raises(ConfigError, match="policy_engine_type must be one of simple, not 'waterfall'"):
        PolicyConfig("waterfall")


def test_the_command_line_makes_a_configuration():
    arguments = ["tcp://[::1]:0", "-p", "-e", "builtin", "-pc", "allocate=capability; scaling=vanilla(upper=2)"]
    config = parse_command(Command("s", "scheduler", SchedulerConfig, {"-e": "event_loop"}), arguments).config
    assert config == SchedulerConfig(
        Address("tcp", "::1", 0),
        protected=True,
        policy=PolicyConfig(policy_content="allocate=capability; scaling=vanilla(upper=2)"),
    )
