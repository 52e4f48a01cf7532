"""An adapter's core with a fake engine under a virtual clock: calls are answered at once, unless they are held."""

from collections import deque

from scaler_adapter_core import events as e
from scaler_adapter_core.adapter import Adapter
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import AdapterProfile, Limits
from scaler_adapter_core.provider import ProviderError
from scaler_protocol.identifiers import counted
from scaler_protocol.messages import AdapterCommand, GroupSpec


class Stage:
    def __init__(self, engine=None, limits=None, **profile):
        self.now = 100.0
        self.engine = engine or FakeEngine()
        self.profile = AdapterProfile("fake", 2.0, limits=limits or Limits(), **profile)
        self.adapter = Adapter(self.profile, counted("own"))
        self.held = None
        self.is_held = False
        self.calls = []
        self.reports = []
        self.logs = []
        self.said = []
        self.finished = None
        self.revision = 0

    @property
    def report(self):
        return self.reports[-1]

    @property
    def states(self):
        return {group.group_id: str(group.state) for group in self.report.groups}

    @property
    def reasons(self):
        return {group.group_id: group.reason for group in self.report.groups}

    @property
    def statuses(self):
        return {status.group_id: str(status.status) for status in self.report.statuses}

    @property
    def live_ids(self):
        return [unit.group_id for unit in self.engine.live]

    def connect(self, *, fresh=True):
        if fresh:
            self.revision = 0
        self.feed(e.Connected(fresh))
        return self

    def command(self, wanted=(), stop=(), *, revision=None, capabilities=None, registered=()):
        self.revision = self.revision + 1 if revision is None else revision
        specs = [GroupSpec(group_id, dict(capabilities or {})) for group_id in wanted]
        self.feed(e.Commanded(AdapterCommand(self.revision, specs, list(stop), list(registered))))

    def feed(self, event):
        events = deque([event])
        while events:
            for effect in self.adapter.handle(events.popleft(), self.now):
                answer = self._carry_out(effect)
                if answer is not None:
                    events.append(answer)
        live = sum(group.is_live for group in self.adapter.groups.table.values())
        limit = self.profile.limits.max_groups
        assert limit < 0 or live <= limit or self.engine.most_live > limit

    def hold(self):
        self.is_held = True

    def release(self):
        self.is_held = False
        call, self.held = self.held, None
        if call is not None:
            self.feed(self._answer(call))

    def change(self):
        self.feed(e.Changed())

    def wait(self, seconds):
        """Let time pass: everything that becomes due meanwhile happens at its moment."""
        end = self.now + seconds
        for _ in range(100_000):
            due = [at for at in (self.adapter.next_wakeup(), self.engine.next_change(), end) if at is not None]
            self.now = max(self.now, min(due))
            before = [unit.state for unit in self.engine.units.values()]
            self.engine.advance(self.now)
            has_changed = before != [unit.state for unit in self.engine.units.values()]
            is_polled = self.profile.limits.poll_seconds is not None
            self.feed(e.Changed() if has_changed and not is_polled else e.Tick())
            if self.now >= end:
                return
        raise AssertionError("the core wakes up again and again")

    def _carry_out(self, effect):
        match effect:
            case e.SendReport(report):
                self.reports.append(report)
            case e.Log(_, text):
                self.logs.append(text)
            case e.AllReady():
                self.said.append("ready")
            case e.StartFailed(reason):
                self.said.append(reason)
            case e.Finished(failure):
                self.finished = failure
            case _:
                assert self.held is None, "two calls at a time"
                self.calls.append(effect)
                if self.is_held:
                    self.held = effect
                    return None
                return self._answer(effect)
        return None

    def _answer(self, call):
        try:
            match call:
                case e.CallLaunch(specs):
                    return e.Launched(self.engine.launch(specs, self.now))
                case e.CallObserve():
                    return e.UnitsObserved(self.engine.observe(self.now))
                case e.CallTerminate(group_ids, mode, _):
                    self.engine.terminate(group_ids, mode, self.now)
                    return e.Terminated()
                case e.CallDiagnose(group_id):
                    return e.Diagnosed(f"diagnosis of {group_id}")
        except ProviderError as error:
            return e.CallFailed(str(error))
