"""What sbatch says where it has not submitted a job, and what that means for the next attempt."""

from typing import Final

from scaler_adapter_core.provider import LaunchOutcome, LaunchResult

_MEANINGS: Final = (
    # It was asked and has not answered: the job may be there.
    (LaunchResult.UNKNOWN, ("timed out", "zero bytes were transmitted", "unexpected message received")),
    (
        LaunchResult.UNAVAILABLE,
        (
            "unable to contact slurm controller",
            "connection refused",
            "connection failure",
            "resolve",
            "unable to establish",
            "temporarily unable",
            "standby mode",
            "database",
            "protocol authentication error",
            "munge",
        ),
    ),
    (
        LaunchResult.QUOTA,
        ("job violates accounting/qos policy", "submit limit", "maxsubmit", "limit exceeded", "quota", "too many jobs"),
    ),
    (
        LaunchResult.NO_CAPACITY,
        ("partition not available", "partition is down", "in the drain", "unable to accept job", "maxjobcount"),
    ),
)


def outcome_of(errors: str) -> LaunchOutcome:
    """Return the outcome for what sbatch has written as it failed. What is not known here is a refusal for good."""
    reason = in_one_line(errors) or "sbatch has failed without a word"
    text = reason.lower()
    for result, signs in _MEANINGS:
        if any(sign in text for sign in signs):
            return LaunchOutcome(result, reason)
    return LaunchOutcome(LaunchResult.INVALID, reason)


def in_one_line(errors: str) -> str:
    """Return the lines of a Slurm command's errors as one, without what each begins with."""
    lines = (line.strip() for line in errors.splitlines())
    parts = (line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines if line)
    return "; ".join(dict.fromkeys(part for part in parts if part))[:1000]
