"""Scheduler and engine do what they can to confuse an adapter; then they stop, and it must get everything right."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scaler_adapter_core import events as e
from scaler_adapter_core.fake import FakeEngine, Faults
from scaler_adapter_core.model import Limits
from scaler_adapter_core.provider import LaunchOutcome, LaunchResult
from scaler_protocol.messages import AdapterCommand, GroupSpec
from tests.unit.adapter_core.stage import Stage

LIMIT = 6
ENDED = {"gone", "failed", "lost"}


class AdapterMachine(RuleBasedStateMachine):
    @initialize(
        pending=st.sampled_from([0.0, 0.3]),
        start=st.sampled_from([0.0, 0.5, 4.0]),
        stop=st.sampled_from([0.0, 1.0]),
        poll=st.sampled_from([None, 1.0]),
        registration=st.sampled_from([None, 20.0]),
    )
    def begin(self, pending, start, stop, poll, registration):
        self.engine = FakeEngine(pending_seconds=pending, start_seconds=start, stop_seconds=stop)
        self.limits = Limits(LIMIT, poll_seconds=poll, registration_seconds=registration)
        self.ids = 0
        self.wanted = []
        self.stop = []
        self.ever_stopped = set()
        self.commands = []
        self.had_units = set()
        self.extras = 0
        self.restart_adapter()

    def new_stage(self):
        now = self.stage.now if hasattr(self, "stage") else 100.0
        self.stage = Stage(self.engine, self.limits)
        self.stage.now = now
        self.seen_calls = self.judged_calls = 0

    # ---- the scheduler

    @rule(count=st.integers(1, 4))
    def want_more(self, count):
        for _ in range(count):
            self.ids += 1
            self.wanted.append(f"g{self.ids}")
        self.tell()

    @rule(data=st.data())
    def want_less(self, data):
        known = [group.group_id for group in self.stage.reports[-1].groups] if self.stage.reports else []
        if known:
            group_id = data.draw(st.sampled_from(known))
            self.wanted = [key for key in self.wanted if key != group_id]
            self.stop.append(group_id)
            self.ever_stopped.add(group_id)
            self.tell()

    @rule()
    def forget_to_mention(self):
        self.wanted = self.wanted[1:]
        self.tell()

    @rule(data=st.data())
    def repeat_an_old_command(self, data):
        if self.commands:
            self.stage.feed(e.Commanded(data.draw(st.sampled_from(self.commands))))

    @rule()
    def restart_scheduler(self):
        self.commands, self.wanted, self.stop = [], [], []
        self.stage.connect(fresh=True)

    @rule()
    def lose_and_find_the_connection(self):
        self.stage.feed(e.Disconnected())
        self.stage.wait(3)
        self.stage.connect(fresh=False)

    @rule()
    def restart_adapter(self):
        self.new_stage()
        self.commands, self.wanted, self.stop = [], [], []
        self.stage.connect()

    # ---- the engine

    @rule(
        result=st.sampled_from([r for r in LaunchResult if r is not LaunchResult.ALREADY_EXISTS]), starts=st.booleans()
    )
    def refuse(self, result, starts):
        self.engine.faults.outcomes.append(LaunchOutcome(result, "because"))
        self.engine.faults.unknown_starts = starts

    @rule(reason=st.sampled_from(["", "preload failed"]))
    def fail_starts(self, reason):
        self.engine.faults.start_failure = reason

    @rule(value=st.booleans())
    def never_register(self, value):
        self.engine.faults.never_ready = value

    @rule(value=st.booleans())
    def be_deaf(self, value):
        self.engine.faults.deaf = value

    @rule(reason=st.sampled_from(["", "no route"]))
    def go_down(self, reason):
        self.engine.faults.down = reason

    @rule()
    def start_one_too_many(self):
        self.engine.faults.extras = 1
        self.extras += 1

    @precondition(lambda self: self.engine.live)
    @rule(data=st.data(), vanish=st.booleans())
    def lose_a_unit(self, data, vanish):
        group_id = data.draw(st.sampled_from(self.stage.live_ids))
        if vanish:
            self.engine.lose(group_id)
        else:
            self.engine.end(group_id, "killed")
        self.stage.change()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 70.0]))
    def wait(self, seconds):
        self.stage.wait(seconds)

    @precondition(lambda self: not self.stage.is_held)
    @rule()
    def be_slow(self):
        self.stage.hold()

    @precondition(lambda self: self.stage.is_held)
    @rule()
    def be_quick(self):
        self.stage.release()

    # ---- what holds at every instant

    @invariant()
    def limits_hold(self):
        assert self.engine.most_live <= LIMIT + self.extras

    @invariant()
    def nothing_is_kept_for_groups_that_have_ended(self):
        live = {group.group_id for group in self.stage.adapter.groups.live()}
        assert self.stage.adapter.desire.stop <= live

    @invariant()
    def ids_are_used_once(self):
        for call in self.stage.calls[self.seen_calls :]:
            if isinstance(call, e.CallLaunch) and call is not self.stage.held:
                for spec in call.specs:
                    assert spec.group_id not in self.had_units
        self.seen_calls = len(self.stage.calls)
        self.had_units.update(key for key, unit in self.engine.units.items() if unit.state in {"gone", "failed"})

    @invariant()
    def only_stopped_groups_are_ended(self):
        for call in self.stage.calls[self.judged_calls :]:  # an id that is wanted again later has another entry
            if isinstance(call, e.CallTerminate):
                for group_id in call.group_ids:
                    group = self.stage.adapter.groups.table.get(group_id)
                    assert group_id in self.ever_stopped or group is None or group.doom
        self.judged_calls = len(self.stage.calls)

    # ---- and in the end

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        self.engine.faults = Faults()
        self.stage.release()
        for _ in range(8):  # breakers are open for a minute at most
            self.schedule(4)
            self.stage.wait(20)
        states = {key: state for key, state in self.stage.states.items() if state not in ENDED}
        assert set(states) == set(self.stage.live_ids)
        assert set(states.values()) == {"ready"}
        assert len(states) == 4
        self.stage.feed(e.StopAsked("the end"))
        self.stage.wait(10)
        assert self.stage.finished == ""
        assert self.stage.live_ids == []

    def schedule(self, number):
        """Do what a scheduler does that wants so many groups: keep, end, ask for more."""
        states = self.stage.states
        self.wanted = [key for key, state in states.items() if state not in {*ENDED, "stopping", "draining"}]
        self.stop = [key for key, state in states.items() if state == "stopping"]
        while len(self.wanted) > number:
            self.stop.append(self.wanted.pop())
        while len(self.wanted) < number:
            self.ids += 1
            self.wanted.append(f"g{self.ids}")
        self.ever_stopped.update(self.stop)
        self.tell()

    def tell(self):
        self.stage.revision += 1
        specs = [GroupSpec(group_id, {}) for group_id in self.wanted]
        command = AdapterCommand(self.stage.revision, specs, list(self.stop))
        self.commands.append(command)
        self.stage.feed(e.Commanded(command))


TestAdapterMachine = AdapterMachine.TestCase
TestAdapterMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
