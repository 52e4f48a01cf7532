"""Clients inside tasks, and helpers, among everything else that may happen: the tables agree, and all tasks end."""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from scaler_protocol import messages as m
from tests.properties.test_scheduler import ENDS, Machine


class NestingMachine(Machine):
    """As before, and some clients live in workers; hosts start helpers when they like, or fail to."""

    @precondition(lambda self: self.workers and len(self.clients) < 6)
    @rule(data=st.data())
    def join_client_inside(self, data):
        worker = self.pick(data, self.workers)
        client = self.bench.client(self.name("C"), inside=worker)
        if client.peer in self.bench.peers:
            self.clients.append(client)

    @precondition(lambda self: any(host.lends for host in self.hosts))
    @rule(data=st.data())
    def start_helper(self, data):
        host = self.pick(data, [host for host in self.hosts if host.lends])
        lend = host.lends.pop(0)
        lender = next((worker for worker in self.workers if worker.worker_id == lend.worker_id), None)
        if lender is None or lender.incarnation != lend.incarnation:
            self._say_ended(host, lend, "planned")
        else:
            name, group = lend.helper_id, lender.group
            self.workers.append(self.bench.worker(name, host, lender=lender, group=group, queue_size=1))

    @precondition(lambda self: any(host.lends for host in self.hosts))
    @rule(data=st.data())
    def fail_to_start_helper(self, data):
        host = self.pick(data, [host for host in self.hosts if host.lends])
        self._say_ended(host, host.lends.pop(0), "exit")

    @precondition(lambda self: any(host.ended_helpers for host in self.hosts))
    @rule(data=st.data())
    def obey_end_helpers(self, data):
        host = self.pick(data, [host for host in self.hosts if host.ended_helpers])
        helper_id = host.ended_helpers.pop(0)
        for worker in [worker for worker in self.workers if worker.worker_id == helper_id]:
            self._end_for_good(worker, "planned", 15, idle=not worker.slices)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), end=ENDS, idle=st.booleans())
    def end_process(self, data, end, idle):
        """End a process; that of a helper is never replaced."""
        worker = self.pick(data, self.workers)
        if worker.lender is None and data.draw(st.booleans()):
            worker.end(*end, idle=idle)
        else:
            self._end_for_good(worker, *end, idle=idle)

    @precondition(lambda self: any(worker.lender is None for worker in self.workers))
    @rule(data=st.data(), end=ENDS)
    def replace_process(self, data, end):
        """Have the next process of a worker greet before the host tells of the end."""
        worker = self.pick(data, [worker for worker in self.workers if worker.lender is None])
        slice_id, task = worker.running()
        ended = m.ProcessEnded(worker.worker_id, worker.incarnation, *end, slice_id, task, replaced=True, detail="")
        self.unsaid.append((worker.host, ended))
        worker.slices.clear()
        worker.recalls.clear()
        worker.incarnation += 1
        worker.hello(group=worker.group, queue_size=worker.queue_size, capabilities=worker.capabilities)

    @invariant()
    def one_helper_uses_a_slot(self):
        if hasattr(self, "bench"):
            using = Counter(
                helper.lender
                for helpers in self.bench.state.helpers.values()
                for helper in helpers
                if not helper.draining
            )
            assert not using or max(using.values()) == 1
            self._forget_dismissed()

    def _forget_dismissed(self):
        for client in [client for client in self.clients if client.peer not in self.bench.peers]:
            self.clients.remove(client)
            self.expected.pop(client, None)

    def _obey(self, host):
        end = host.end_tasks.pop(0)
        for worker in [worker for worker in self.workers if worker.worker_id == end.worker_id]:
            slice_id, task = worker.running()
            if worker.incarnation == end.incarnation and slice_id == end.slice_id and end.task in {task, m.ANY_TASK}:
                if worker.lender is None:
                    worker.end("cancelled", 15)
                else:
                    self._end_for_good(worker, "cancelled", 15)

    def _end_for_good(self, worker, cause, code, *, idle=False):
        worker.end(cause, code, idle=idle, hello=False)
        self.workers.remove(worker)
        worker.leave("its connection was lost and did not come back")

    def _say_ended(self, host, lend, cause):
        host.say(m.ProcessEnded(lend.helper_id, 1, cause, 1, 0, 0, replaced=False, detail="it did not start"))

    def teardown(self):
        """Work everything off; those whose task is over by then are no clients any more."""
        if hasattr(self, "bench"):
            self._forget_dismissed()
            for client in [client for client in self.clients if self.bench.state.clients[client.peer].home]:
                self.clients.remove(client)
                self.expected.pop(client, None)
                client.leave()
            super().teardown()


NestingMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLending = NestingMachine.TestCase
del Machine
