"""An adapter's state and decisions, without IO: commands and what the engine shows in, calls and reports out.

It makes one call to the provider at a time and decides anew after each, so that nothing it wants done grows old.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import inf

from scaler_adapter_core import events as e
from scaler_adapter_core.backoff import CAUSE_OF_RESULT, Backoff, Cause, pause_after
from scaler_adapter_core.desire import Desire
from scaler_adapter_core.groups import Change, Groups
from scaler_adapter_core.model import AdapterProfile, Desired, Group, GroupState, Observed
from scaler_adapter_core.provider import LaunchOutcome, LaunchResult, LaunchSpec, TerminateMode, Unit
from scaler_adapter_core.reconcile import Action, Hold, Launch, Observe, Terminate, Wait, reconcile
from scaler_adapter_core.report import Reporter

STOP_SECONDS = 8.5
"""An adapter that stops ends after so long, whatever is left."""
FAREWELL_SECONDS = 3.0
"""One whose groups have all failed ends after so long even if there was no scheduler to tell that."""
_KILLING_SECONDS = 0.5
"""What it gets of that to kill what is left then."""
_MAX_DIAGNOSES = 16
_STOPS = "the adapter stops"


class Adapter:
    """See the module. `mint` makes ids for the groups of a constant desire."""

    def __init__(self, profile: AdapterProfile, mint: Callable[[], str]) -> None:
        self.profile = profile
        self.groups = Groups(profile.limits)
        self.desire = Desire(profile.capabilities, profile.constant, mint)
        self.backoff = Backoff()
        self._reporter = Reporter(profile)
        self._connected_at: float | None = None
        self._call: e.Call | None = None
        self._is_dirty = True  # the engine may show something new
        self._has_observed = False
        self._observe_at = 0.0
        self._observe_failures = 0
        self._diagnoses: deque[str] = deque(maxlen=_MAX_DIAGNOSES)
        self._held: dict[str, Hold] = {}
        self._wake_at = inf
        self._stop: e.StopAsked | None = None
        self._stop_at = inf
        self._farewell_at: float | None = None
        self._is_confirmed = False  # the engine was asked after the last group had ended, and shows nothing
        self._is_finished = False
        self._was_all_ready = False
        self._last_failure = ""
        self._effects: list[e.Effect] = []

    def handle(self, event: e.Event, now: float) -> list[e.Effect]:
        """Take in one event; the effects are to be carried out in their order."""
        self._effects = []
        if not self._is_finished:
            self._take(event, now)
            self._decide(now)
            if self._connected_at is not None:
                must = isinstance(event, e.Connected | e.Commanded)
                self._effects += self._reporter.report(self.desire, self.groups, self._held, now, must=must)
            self._announce()
            self._finish(now)
        if sys.flags.dev_mode:
            self.check()
        return self._effects

    def next_wakeup(self) -> float | None:
        """Return when `Tick` is wanted at the latest, None for never."""
        if self._is_finished:
            return None
        times = [self._wake_at, self._stop_at, self._farewell_at or inf, self.groups.next_forget() or inf]
        if self._connected_at is not None:
            times.append(self._reporter.due_at)
        if self._call is None:
            times.append(self._observe_at)
        first = min(times)
        return None if first == inf else first

    def check(self) -> None:
        """Raise `AssertionError` unless the tables are consistent."""
        self.groups.check()
        assert all(group_id == want.group_id for group_id, want in self.desire.wanted.items())
        if isinstance(self._call, e.CallLaunch):  # its outcomes are for these
            assert all(spec.group_id in self.groups.table for spec in self._call.specs)

    def describe(self, now: float) -> Iterator[str]:
        """Return where it stands, a line at a time, for people."""
        wakeup = self.next_wakeup()
        yield f"wakes up {'by events only' if wakeup is None else f'in {wakeup - now:.3f} s'}, stopping: {self._stop}"
        yield f"call under way: {self._call}"
        yield f"wanted: {len(self.desire.wanted)} groups, to be stopped: {len(self.desire.stop)}"
        yield f"longest pause: {self.backoff.longest}"
        yield from map(str, list(self.groups.table.values()))

    # ---- events

    def _take(self, event: e.Event, now: float) -> None:
        match event:
            case e.Connected(fresh):
                self._on_connected(fresh, now)
            case e.Disconnected():
                self._connected_at = None
            case e.Commanded(command):
                self.desire.on_command(command, self.groups, now, refused=_STOPS if self._stop else "")
            case e.Changed():
                self._is_dirty = True
            case e.StopAsked():
                self._on_stop_asked(event, now)
            case e.Tick():
                pass
            case _:
                self._on_answer(event, now)

    def _on_connected(self, fresh: bool, now: float) -> None:
        self._connected_at = now
        if fresh:
            self.desire.on_fresh()

    def _on_stop_asked(self, stop: e.StopAsked, now: float) -> None:
        if self._stop is None:
            self._log(logging.INFO, f"stopping: {stop.reason}")
            self._stop, self._stop_at = stop, now + STOP_SECONDS
            self._is_confirmed = False

    def _on_answer(
        self, event: e.Launched | e.UnitsObserved | e.Terminated | e.Diagnosed | e.CallFailed, now: float
    ) -> None:
        call, self._call = self._call, None
        self._is_dirty |= isinstance(call, e.CallLaunch | e.CallTerminate)
        match call, event:
            case e.CallLaunch(specs), e.Launched(outcomes):
                self._on_launched(specs, outcomes, now)
            case e.CallLaunch(specs), e.CallFailed(reason):
                self._on_launched(specs, [LaunchOutcome(LaunchResult.UNKNOWN, reason)] * len(specs), now)
            case e.CallObserve(), e.UnitsObserved(units):
                self._on_observed(units, now)
            case e.CallObserve(), e.CallFailed(reason):
                self._on_observe_failed(reason, now)
            case e.CallTerminate(group_ids), e.Terminated():
                self.groups.on_taken(group_ids, now)
            case e.CallTerminate(group_ids), e.CallFailed(reason):
                self._on_terminate_failed(group_ids, reason, now)
            case e.CallDiagnose(group_id), e.Diagnosed(text):
                self.groups.explain(group_id, text)
            case _:
                pass

    # ---- answers of the provider

    def _on_launched(self, specs: Sequence[LaunchSpec], outcomes: Sequence[LaunchOutcome], now: float) -> None:
        if len(outcomes) != len(specs):
            outcomes = [
                LaunchOutcome(LaunchResult.UNKNOWN, f"{len(outcomes)} outcomes of {len(specs)} launches")
            ] * len(specs)
        launched_at = self.groups.table[specs[0].group_id].launched_at
        if any(outcome.result in _THERE for outcome in outcomes):
            self.backoff.on_accepted()
        for spec, outcome in zip(specs, outcomes, strict=True):
            self._on_outcome(spec, outcome, launched_at, now)

    def _on_outcome(self, spec: LaunchSpec, outcome: LaunchOutcome, launched_at: float, now: float) -> None:
        if outcome.result in _THERE:
            self.groups.on_accepted(spec.group_id, now)
            return
        if outcome.result is LaunchResult.UNKNOWN:
            self.groups.on_unknown(spec.group_id, outcome.reason, now)
        else:
            self.groups.on_not_launched(spec.group_id)
            self.desire.on_absent(spec.group_id, self.groups, now)
        if outcome.result is LaunchResult.INVALID:
            reason = outcome.reason or "the engine refuses it"
            self.groups.add_ended(spec, GroupState.FAILED, reason, now)
            self._on_ended(self.groups.table[spec.group_id], now, Cause.INVALID)
            return
        self._fail(CAUSE_OF_RESULT[outcome.result], outcome.reason, launched_at, now, outcome.retry_after_seconds)

    def _on_observed(self, units: Sequence[Unit], now: float) -> None:
        self._has_observed = True
        self._observe_failures = 0
        poll = self.profile.limits.poll_seconds
        self._observe_at = inf if poll is None else now + poll
        for change in self.groups.on_observed(units, now):
            self._on_change(change, now)
        live = list(self.groups.live())
        self._is_confirmed = not live
        up_since = max((group.launched_at for group in live if group.came_up), default=None)
        if up_since is not None and self.backoff.on_up(up_since):
            self._log(logging.INFO, "groups start again")

    def _on_observe_failed(self, reason: str, now: float) -> None:
        self._is_dirty = True
        self._observe_failures += 1
        pause = pause_after(self._observe_failures)
        self._observe_at = now + pause
        self._log(logging.WARNING, f"cannot see what runs, next attempt after {pause:g} s: {reason}")

    def _on_terminate_failed(self, group_ids: Sequence[str], reason: str, now: float) -> None:
        self.groups.on_not_taken(group_ids, reason, now)
        pause = pause_after(self.groups.table[group_ids[0]].unheard)
        self._log(logging.WARNING, f"could not ask {_some(group_ids)} to end, next attempt after {pause:g} s: {reason}")

    def _on_change(self, change: Change, now: float) -> None:
        group = change.group
        if group.group_id not in self.groups.table:
            self._log(logging.INFO, f"group {group.group_id} was not started after all")
            self.desire.on_absent(group.group_id, self.groups, now)
        elif change.before is None:
            self._log(logging.INFO, f"found group {group.group_id}, {group.state}")
        elif not group.is_live:
            self._on_ended(group, now, Cause.ENDED if group.state is GroupState.LOST else Cause.START)
        else:
            self._log(logging.DEBUG, f"group {group.group_id} is {group.state}")

    def _on_ended(self, group: Group, now: float, cause: Cause) -> None:
        is_failure = group.state is not GroupState.GONE
        self._log(
            logging.WARNING if is_failure else logging.INFO, f"group {group.group_id} is {group.state}: {group.reason}"
        )
        self.desire.on_ended(group)
        self._last_failure = group.reason if is_failure else ""
        if not is_failure:
            return
        self._fail(cause, group.reason, group.launched_at, now)
        if cause is not Cause.INVALID:
            self._diagnoses.append(group.group_id)
        if self.profile.constant and not self._was_all_ready and not group.came_up and not self._stop:
            self._effects.append(e.StartFailed(group.reason))

    def _fail(
        self, cause: Cause, reason: str, launched_at: float, now: float, retry_after_seconds: float | None = None
    ) -> None:
        pause = self.backoff.failed(
            cause, reason, now, launched_at=launched_at, retry_after_seconds=retry_after_seconds
        )
        if pause.failed_at == now:
            self._log(logging.ERROR if pause.is_broken else logging.WARNING, pause.text)

    # ---- decisions

    def _decide(self, now: float) -> None:
        self.groups.forget(now)
        limits = self.profile.limits
        registers_since = inf if self._connected_at is None else self._connected_at
        actions = reconcile(self._desired(), Observed(self.groups.table, self.backoff, registers_since), limits, now)
        self._held = {action.group_id: action for action in actions if isinstance(action, Hold)}
        self._wake_at = min((action.until for action in actions if isinstance(action, Wait)), default=inf)
        if self._call is None:
            self._call = self._next_call(actions, now)
            if self._call is not None:
                self._effects.append(self._call)

    def _desired(self) -> Desired:
        offered = self.profile.capabilities
        if self._stop is None:
            # What leaves by itself finishes its tasks: the scheduler, told so, wants it to go.
            stop = self.desire.stop.difference(group.group_id for group in self.groups.live() if group.leaves_by_itself)
            return Desired(self.desire.wanted, frozenset(stop), offered)
        drain = self._stop.drain and self._connected_at is not None
        live = frozenset(group.group_id for group in self.groups.live())
        mode = TerminateMode.DRAIN if drain else TerminateMode.STOP
        return Desired({}, live, offered, mode, kill_at=self._stop_at - _KILLING_SECONDS)

    def _next_call(self, actions: Sequence[Action], now: float) -> e.Call | None:
        """Choose what comes first: know what there is, end, start, look, ask why."""
        may_observe = self._observe_failures == 0 or now >= self._observe_at
        if not self._has_observed:
            return self._observe() if may_observe else None
        terminates = [action for action in actions if isinstance(action, Terminate)]
        if terminates:
            return self._terminate(terminates, now)
        if may_observe and any(isinstance(action, Observe) for action in actions):
            return self._observe()
        launches = [action.spec for action in actions if isinstance(action, Launch)]
        if launches:
            return self._launch(launches[: self.profile.limits.launch_batch], now)
        is_last_look = self._stop is not None and not self._is_confirmed and not any(self.groups.live())
        if may_observe and (self._is_dirty or is_last_look or now >= self._observe_at):
            return self._observe()
        return e.CallDiagnose(self._diagnoses.popleft()) if self._diagnoses else None

    def _observe(self) -> e.Call:
        self._is_dirty = False
        return e.CallObserve()

    def _terminate(self, actions: Sequence[Terminate], now: float) -> e.Call:
        """Ask those that get the same, in one call; the others have their turn after it."""
        first = actions[0]
        chosen = [action for action in actions if (action.mode, action.reason) == (first.mode, first.reason)]
        group_ids = [action.group_id for action in chosen]
        why = f": {first.reason}" if first.reason else ""
        self._log(logging.WARNING if why else logging.INFO, f"asking {_some(group_ids)} to end ({first.mode}){why}")
        for action in chosen:
            group = self.groups.table[action.group_id]
            if action.reason and group.asked is None:  # it has failed already: what comes next waits for its turn
                self._fail(Cause.START, action.reason, group.launched_at, now)
            self.groups.on_asked(action.group_id, action.mode, action.reason, now)
        return e.CallTerminate(group_ids, first.mode, first.grace_seconds)

    def _launch(self, specs: list[LaunchSpec], now: float) -> e.Call:
        self._log(logging.INFO, f"starting {_some([spec.group_id for spec in specs])}")
        self.groups.on_launching(specs, now)
        return e.CallLaunch(specs)

    # ---- the end, and the beginning, of a constant number

    def _announce(self) -> None:
        constant = self.profile.constant
        if constant is None or self._was_all_ready or self._stop is not None:
            return
        ready = sum(group.state is GroupState.READY for group in self.groups.table.values())
        if self._has_observed and ready == constant.count:
            self._was_all_ready = True
            self._effects.append(e.AllReady())

    def _finish(self, now: float) -> None:
        """End when nothing is left, or when stopping has taken too long."""
        live = [group.group_id for group in self.groups.live()]
        constant = self.profile.constant
        if self._stop is not None:
            if now >= self._stop_at:
                self._log(logging.ERROR, f"{_some(live)} may still run")
            elif live or self._call is not None or not self._is_confirmed:
                return
            self._end(self._stop.reason if self._stop.is_failure else "")
        elif constant is not None and not live and not self.desire.wanted and self._has_observed:
            if self._last_failure and self._connected_at is None and not self._is_farewell_over(now):
                return  # clients whose tasks wait shall know
            self._end(f"its last worker has ended: {self._last_failure}" if self._last_failure else "")

    def _is_farewell_over(self, now: float) -> bool:
        if self._farewell_at is None:
            self._farewell_at = now + FAREWELL_SECONDS
        return now >= self._farewell_at

    def _end(self, failure: str) -> None:
        self._is_finished = True
        self._effects.append(e.Finished(failure))

    def _log(self, level: int, text: str) -> None:
        self._effects.append(e.Log(level, text))


_THERE = frozenset({LaunchResult.ACCEPTED, LaunchResult.ALREADY_EXISTS})


def _some(group_ids: Sequence[str]) -> str:
    """Return one group's id, or how many there are."""
    return f"group {group_ids[0]}" if len(group_ids) == 1 else f"{len(group_ids)} groups"
