"""The Slurm adapter's command where there is no Slurm: see tests/engines for where there is one."""

import pytest

from tests.integration.commands import Command, free_address

pytestmark = pytest.mark.integration


def test_without_slurm_it_ends_with_one_line_that_says_where_to_run_it(tmp_path):
    options = ("--log-folder", tmp_path / "logs", "--logging-level", "ERROR")
    adapter = Command("scaler_adapter_slurm", free_address(), *options, environment={"PATH": str(tmp_path)})

    assert adapter.process.wait(60) == 1
    assert adapter.stop() == 1
    assert adapter.lines == [
        "scaler_worker_adapter_slurm: there is no sbatch here: this has to run where jobs can be submitted to Slurm"
    ]


def test_an_option_of_sbatch_that_the_adapter_sets_itself_is_refused(tmp_path):
    adapter = Command("scaler_adapter_slurm", free_address(), "--sbatch-options", "mem=1G")

    assert adapter.process.wait(60) == 2
    assert adapter.stop() == 2
    assert len(adapter.lines) == 1
    assert "sbatch_options must be options of sbatch in their long form" in adapter.lines[0]
