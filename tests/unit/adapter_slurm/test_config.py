"""The options that are Slurm's."""

import pytest

from scaler_adapter_slurm.config import Memory, SlurmConfig, SlurmWorkerAdapterConfig, TimeLimit
from scaler_protocol.addresses import Address
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError
from scaler_runtime.options import WorkerAdapterConfig

ADDRESS = "tcp://10.0.0.1:8516"


def parsed(*arguments):
    command = Command("scaler_worker_adapter_slurm", "slurm_worker_adapter", SlurmWorkerAdapterConfig, {})
    return parse_command(command, [ADDRESS, *arguments]).config


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("90", 5400, "0-01:30:00"),
        ("90:30", 5430, "0-01:30:30"),
        ("1:30:00", 5400, "0-01:30:00"),
        ("2-12", 216_000, "2-12:00:00"),
        ("1-0:5", 86_700, "1-00:05:00"),
        ("1-1:1:1", 90_061, "1-01:01:01"),
    ],
)
def test_a_time_is_read_as_slurm_reads_it(text, seconds, written):
    limit = TimeLimit.from_string(text)

    assert (limit.seconds, str(limit)) == (seconds, written)
    assert TimeLimit.from_string(written) == limit


@pytest.mark.parametrize("text", ["", "soon", "1h", "1:2:3:4", "-5", "1-"])
def test_another_time_is_refused(text):
    with pytest.raises(ValueError, match="a time as Slurm writes it"):
        TimeLimit.from_string(text)


@pytest.mark.parametrize(("text", "written"), [("2G", "2G"), ("512", "512M"), ("1536m", "1536M"), ("3K", "3K")])
def test_memory_is_read_and_written(text, written):
    assert str(Memory.from_string(text)) == written


def test_memory_is_that_of_all_workers():
    assert str(Memory.from_string("512M") * 4) == "2G"


@pytest.mark.parametrize("text", ["", "0", "2X", "1.5G", "-1G"])
def test_other_memory_is_refused(text):
    with pytest.raises(ValueError, match="a whole number >= 1 with K, M, G or T"):
        Memory.from_string(text)


def test_options_come_from_the_command_line():
    options = ("--partition", "gpu", "-stl", "2:00:00", "-mpw", "4G", "--sbatch-options", "gres=gpu:1", "exclusive")
    slurm = parsed(*options, "--modules", "gcc", "cuda/12").slurm_config

    assert (slurm.partition, slurm.time_limit.seconds, str(slurm.memory_per_worker)) == ("gpu", 7200, "4G")
    assert (slurm.sbatch_options, slurm.modules) == (("gres=gpu:1", "exclusive"), ("gcc", "cuda/12"))


@pytest.mark.parametrize(
    "option", ["-Cfast", "mem=1G", "--array=1-5", "requeue", "--job-name=x", "two words", "signal"]
)
def test_what_the_adapter_sets_itself_is_no_further_option(option):
    with pytest.raises(ConfigError, match="sbatch_options must be options of sbatch in their long form"):
        SlurmConfig(sbatch_options=(option,))


def test_a_further_option_may_have_its_dashes():
    assert parsed("--sbatch-options=--gres=gpu:1").slurm_config.sbatch_options == ("--gres=gpu:1",)


def test_a_job_has_time_beyond_what_slurm_may_warn_too_early():
    with pytest.raises(ConfigError, match="time_limit must be more than 90 seconds"):
        parsed("--time-limit", "1:30")
    assert parsed("--time-limit", "1:31").slurm_config.time_limit.seconds == 91


@pytest.mark.parametrize(("workers", "each", "groups"), [(-1, 4, -1), (0, 4, 0), (9, 4, 2), (4, 4, 1), (3, 1, 3)])
def test_groups_are_counted_in_whole_jobs(workers, each, groups):
    adapter = WorkerAdapterConfig(Address.from_string(ADDRESS), max_workers=workers)

    assert SlurmWorkerAdapterConfig(adapter, SlurmConfig(workers_per_group=each)).max_groups == groups


def test_room_for_less_than_a_job_is_refused():
    with pytest.raises(ConfigError, match="max_workers must be at least workers_per_group, 4, not 3"):
        parsed("--max-workers", "3", "--workers-per-group", "4")


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a/b"])
def test_a_job_name_has_no_other_characters(name):
    with pytest.raises(ConfigError, match="job_name must be"):
        SlurmConfig(job_name=name)


def test_refused_options_of_sbatch_are_shown_as_they_were_written():
    with pytest.raises(ConfigError, match=r", not 'gres=gpu:1 mem=3G'$"):
        SlurmConfig(sbatch_options=("gres=gpu:1", "mem=3G"))
