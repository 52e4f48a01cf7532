"""What sbatch says where it has not submitted a job. The texts are those of Slurm."""

import pytest

from scaler_adapter_core.provider import LaunchResult
from scaler_adapter_slurm.refusals import in_one_line, outcome_of


@pytest.mark.parametrize(
    ("errors", "result"),
    [
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "UNAVAILABLE",
        ),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", "UNKNOWN"),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", "UNKNOWN"),
        ("sbatch: error: Batch job submission failed: Slurm temporarily unable to accept job, sleeping", "UNAVAILABLE"),
        (
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates accounting/QOS policy (submit limit)",
            "QUOTA",
        ),
        (
            "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)",
            "NO_CAPACITY",
        ),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "INVALID"),
        ("sbatch: error: invalid partition specified: nowhere", "INVALID"),
        ("sbatch: error: something that nobody has seen", "INVALID"),
        ("", "INVALID"),
    ],
)
def test_a_refusal_has_its_meaning(errors, result):
    outcome = outcome_of(errors)

    assert outcome.result is LaunchResult[result]
    assert outcome.reason
    assert "sbatch: error" not in outcome.reason
    assert "\n" not in outcome.reason


def test_several_lines_become_one_and_are_said_once():
    assert in_one_line("sbatch: error: a\n\nsbatch: error: a\nscancel: b\n") == "a; scancel: b"
