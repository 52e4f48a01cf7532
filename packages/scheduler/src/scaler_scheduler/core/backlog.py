"""How much work is unfinished, in seconds as far as durations are known, for the scaling policies.

Of a function that has never run only a few tasks count at first: the client may be in the middle of submitting very
many short ones. A moment later all count, unless they are many: then what was measured of the first will tell, as soon
as it is enough to go by, or a while without. That while begins again when a worker has the first of them.
"""

from dataclasses import dataclass

from scaler_scheduler.core.state import Function, State

PROBES = 2
"""So many tasks of a function on trial count."""
MOMENT_SECONDS = 0.02
MANY_TASKS = 64
TRUSTED_SECONDS = 0.1
"""Measured in all, before many tasks are judged by it: one that was held up for some milliseconds is no measure."""
TRIAL_SECONDS = 1.0
"""The trial of more than MANY_TASKS; that of fewer lasts MOMENT_SECONDS."""


@dataclass(slots=True)
class _Trial:
    since: float
    has_worker: bool = False


class Backlog:
    """See the module. `trial_end` is when more tasks count, if no result comes before."""

    def __init__(self, state: State) -> None:
        self.trial_end: float | None = None
        self._state = state
        self._trials: dict[Function, _Trial] = {}

    def measure(self, now: float) -> tuple[float, int]:
        """Return the seconds of the tasks of known duration, and how many tasks of unknown duration count."""
        seconds, tasks = 0.0, 0
        trials: dict[Function, _Trial] = {}
        ends: list[float] = []
        for function in self._state.busy:
            known = self._state.durations.average_of(function.function_id)
            if known is not None and (known[1] >= TRUSTED_SECONDS or function.unfinished <= MANY_TASKS):
                seconds += function.unfinished * known[0]
                continue
            trial = trials[function] = self._trials.get(function) or _Trial(now)
            lasts = TRIAL_SECONDS if function.unfinished > MANY_TASKS else MOMENT_SECONDS
            if function.workers and not trial.has_worker and now < trial.since + lasts:
                trial.since, trial.has_worker = now, True
            end = trial.since + lasts
            if known is not None and now >= end:
                seconds += function.unfinished * known[0]
            elif function.unfinished <= PROBES or now >= end:
                tasks += function.unfinished
            else:
                tasks += PROBES
                ends.append(end)
        self._trials = trials
        self.trial_end = min(ends, default=None)
        return seconds, tasks

    def is_due(self, now: float) -> bool:
        """Whether more tasks count since the last time."""
        return self.trial_end is not None and now >= self.trial_end

    def forget(self) -> None:
        """Take note that nobody asks any more."""
        self._trials, self.trial_end = {}, None
