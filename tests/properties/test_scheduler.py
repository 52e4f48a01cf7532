"""Whatever clients, workers and hosts do in whatever order: no task is lost, none has two outcomes, the tables agree.

In the end the faults stop, a worker that can do everything works everything off, and every task of every living client
has had exactly one outcome.
"""

import signal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from scaler_protocol import messages as m
from scaler_protocol.batch import RESULTS, Status
from tests.unit.scheduler.builders import Bench, FakeWorker, function_id, results

CAPABILITIES = st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}, {"tpu": -1}])
EVERYTHING = {"gpu": -1, "tpu": -1}
ENDS = st.sampled_from(
    [
        ("signal", signal.SIGKILL),
        ("signal", signal.SIGTERM),
        ("signal", signal.SIGSEGV),
        ("exit", 3),
        ("planned", 0),
        ("timeout", signal.SIGTERM),
        ("cancelled", signal.SIGTERM),
        ("unheard of", 0),
    ]
)
SECONDS = st.sampled_from([0.00001, 0.001, 0.02, 1.0])


class Machine(RuleBasedStateMachine):
    """Peers that do as they like. `expected` are the tasks that are to have an outcome."""

    @initialize(
        allocate=st.sampled_from(["even_load", "capability"]),
        retries=st.integers(0, 2),
        limit=st.sampled_from([-1, 0, 10]),
        settles=st.booleans(),
    )
    def begin(self, allocate, retries, limit, settles):
        self.bench = Bench(
            f"allocate={allocate}; scaling=no",
            task_retry_limit=retries,
            max_number_of_tasks_waiting=limit,
            worker_timeout_seconds=2.0,
        )
        self.bench.settles = settles
        for function in "fg":  # known to be short, so that slices have several tasks
            self.bench.state.durations.add(function_id(function), 0.002, 1)
        self.names = 0
        self.clients, self.hosts, self.workers = [], [], []
        self.expected = {}
        self.cancelled = set()
        self.graphs = {}  # (client, batch) to the graph that it belongs to, 0 for none
        self.needs = {}  # (client, batch, task) to the (batch, task) that it waits for
        self.unsaid = []  # (host, ProcessEnded) that hosts have still to report
        self.answered = []  # results that workers have sent, and might send again
        self.join_client()
        self.join_host()

    def name(self, letter):
        self.names += 1
        return f"{letter}{self.names}"

    def pick(self, data, items):
        return data.draw(st.sampled_from(items))

    # ---- clients

    @precondition(lambda self: len(self.clients) < 3)
    @rule()
    def join_client(self):
        self.clients.append(self.bench.client(self.name("C")))

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        blocks=st.lists(st.integers(1, 6), min_size=1, max_size=6),
        function=st.sampled_from("fgh"),
        capabilities=CAPABILITIES,
        priority=st.integers(0, 2),
    )
    def submit(self, data, blocks, function, capabilities, priority):
        client = self.pick(data, self.clients)
        edges = sorted(data.draw(st.lists(st.integers(0, sum(blocks)), max_size=4)))
        finished = edges[: len(edges) // 2 * 2]
        batch = client.submit(
            function=function, blocks=blocks, capabilities=capabilities, priority=priority, finished=finished
        )
        skipped = {
            task for start, stop in zip(finished[::2], finished[1::2], strict=True) for task in range(start, stop)
        }
        self.expected.setdefault(client, set()).update(
            (batch, task) for task in range(sum(blocks)) if task not in skipped
        )

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        count=st.integers(1, 6),
        function=st.sampled_from("fgh"),
        capabilities=CAPABILITIES,
        graph=st.sampled_from([0, 0, 1, 2]),
        chained=st.booleans(),
    )
    def submit_linked(self, data, count, function, capabilities, graph, chained):  # noqa: PLR0917 - drawn one by one
        """Tasks that wait for any of this client's tasks, over or not, and for tasks of their own batch."""
        client = self.pick(data, self.clients)
        number = next(client.batch_ids)
        known = sorted(self.expected.setdefault(client, set()) | set(client.outcomes))
        needs = [
            data.draw(st.lists(st.sampled_from(sources), max_size=3)) if sources else []
            for sources in (known + [(number, before) for before in range(task)] for task in range(count))
        ]
        if chained:  # each waits for the one before it
            needs = [[*sources[:1], (number, task - 1)] if task else sources for task, sources in enumerate(needs)]
        self.graphs[client, number] = graph
        fields = {"function": function, "capabilities": capabilities, "graph": graph}
        self._submit_linked(client, number, needs, **fields)
        if client.outcomes.get((number, 0)) == [Status.DEPENDENCY_OVER]:
            for task in range(count):
                assert client.outcomes.pop((number, task)) == [Status.DEPENDENCY_OVER]
            self._submit_what_is_left(client, number, needs, fields)
        self.expected[client].update((number, task) for task in range(count))
        self.needs.update(((client, number, task), sources) for task, sources in enumerate(needs))

    def _submit_what_is_left(self, client, number, needs, fields):
        """Do what a client does whose batch came too late: results go with it, failures end what waits for them."""
        finished = []
        for task, sources in enumerate(needs):
            ended = [client.outcomes[source][0] for source in sources if source in client.outcomes]
            lost = [status for status in ended if status not in RESULTS]
            if lost:
                client.outcomes[number, task] = [lost[0]]
                finished += [task, task + 1]
        left = [[source for source in sources if source not in client.outcomes] for sources in needs]
        if len(finished) < 2 * len(needs):
            self._submit_linked(client, number, left, finished=finished, **fields)
        assert [Status.DEPENDENCY_OVER] not in client.outcomes.values()

    def _submit_linked(self, client, number, needs, **fields):
        client.submit(batch_id=number, needs=needs, graph_ready=sum(not sources for sources in needs), **fields)

    @precondition(lambda self: any(self.expected.get(client) for client in self.clients))
    @rule(data=st.data(), tasks=st.integers(1, 8))
    def cancel(self, data, tasks):
        client = self.pick(data, [client for client in self.clients if self.expected.get(client)])
        batch, task = self.pick(data, sorted(self.expected[client]))
        self.cancelled.update((client, batch, other) for other in range(task, task + tasks))
        client.cancel(batch, task, tasks)

    @precondition(lambda self: any(self.expected.get(client) for client in self.clients))
    @rule(data=st.data())
    def abandon(self, data):
        client = self.pick(data, [client for client in self.clients if self.expected.get(client)])
        batch, _ = self.pick(data, sorted(self.expected[client]))
        client.abandon(batch)
        for key in [key for key in self.expected[client] if key[0] == batch and key not in client.outcomes]:
            self.expected[client].discard(key)
            self.cancelled.add((client, *key))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), function=st.sampled_from("fgh"))
    def forget_function(self, data, function):
        self.pick(data, self.clients).forget(function)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave_client(self, data):
        client = self.pick(data, self.clients)
        self.clients.remove(client)
        self.expected.pop(client, None)
        client.leave()

    # ---- workers and hosts

    @precondition(lambda self: len(self.hosts) < 3)
    @rule()
    def join_host(self):
        self.hosts.append(self.bench.host(self.name("H")))

    @precondition(lambda self: self.hosts and len(self.workers) < 6)
    @rule(data=st.data(), capabilities=CAPABILITIES, queue_size=st.sampled_from([1, 2, 5, 1000]))
    def join_worker(self, data, capabilities, queue_size):
        host = self.pick(data, self.hosts)
        self.workers.append(self.bench.worker(self.name("W"), host, capabilities=capabilities, queue_size=queue_size))

    @precondition(lambda self: any(worker.slices for worker in self.workers))
    @rule(data=st.data(), seconds=SECONDS, status=st.sampled_from([Status.VALUE, Status.EXCEPTION]))
    def complete(self, data, seconds, status):
        worker = self.pick(data, [worker for worker in self.workers if worker.slices])
        slice_id, (assign, start, stop) = next(iter(worker.slices.items()))
        tasks = data.draw(st.integers(1, stop - start))
        self.answered.append((worker, results(slice_id, assign.client_id, assign.batch_id, start, tasks)))
        worker.complete(tasks, seconds=seconds, status=status)

    @precondition(lambda self: any(worker.recalls for worker in self.workers))
    @rule(data=st.data(), begun=st.booleans())
    def give_back(self, data, begun):
        self.pick(data, [worker for worker in self.workers if worker.recalls]).give_back(begun=begun)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), end=ENDS, idle=st.booleans())
    def end_process(self, data, end, idle):
        """The host tells of the end before the next process greets, if there is one."""
        worker = self.pick(data, self.workers)
        replaced = data.draw(st.booleans())
        worker.end(*end, idle=idle, hello=replaced)
        if not replaced:
            self.workers.remove(worker)
            worker.leave("its connection was lost and did not come back")

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), end=ENDS)
    def replace_process(self, data, end):
        """The next process greets before the host tells of the end."""
        worker = self.pick(data, self.workers)
        slice_id, task = worker.running()
        cause, code = end
        ended = m.ProcessEnded(worker.worker_id, worker.incarnation, cause, code, slice_id, task, True, "")
        self.unsaid.append((worker.host, ended))
        worker.slices.clear()
        worker.recalls.clear()
        worker.incarnation += 1
        worker.hello(group=worker.group, queue_size=worker.queue_size, capabilities=worker.capabilities)

    @precondition(lambda self: self.unsaid)
    @rule()
    def tell_of_an_end(self):
        host, ended = self.unsaid.pop(0)
        if host in self.hosts:
            host.say(ended)

    @precondition(lambda self: any(host.end_tasks for host in self.hosts))
    @rule(data=st.data())
    def obey_end_task(self, data):
        self._obey(self.pick(data, [host for host in self.hosts if host.end_tasks]))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def lose_worker(self, data):
        worker = self.pick(data, self.workers)
        self.workers.remove(worker)
        worker.host.entries.pop(worker.worker_id, None)
        worker.leave("its connection was lost and did not come back")

    @precondition(lambda self: self.hosts)
    @rule(data=st.data())
    def leave_host(self, data):
        host = self.pick(data, self.hosts)
        self.hosts.remove(host)
        host.leave()
        for worker in [worker for worker in self.workers if worker.host is host]:
            assert any(isinstance(message, m.Shutdown) for message in worker.told)
            self.workers.remove(worker)
            worker.leave()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), state=st.sampled_from(["running", "stopped", "draining", "starting"]))
    def report(self, data, state):
        worker = self.pick(data, self.workers)
        if worker.worker_id in worker.host.entries:
            worker.host.entries[worker.worker_id].incarnation = worker.incarnation
            worker.host.report(**{worker.worker_id: state})

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def late_results(self, data):
        """What a worker has said already comes again under a slice that is not open any more: nothing happens."""
        worker, message = self.pick(data, self.answered)
        if worker in self.workers and message.slice_id not in self.bench.state.workers[worker.worker_id].slices:
            before = self.bench.state.unfinished_tasks
            worker.say(message)
            assert self.bench.state.unfinished_tasks == before

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.5, 3.0]))
    def let_time_pass(self, seconds):
        self.bench.advance(seconds)

    def _obey(self, host):
        end = host.end_tasks.pop(0)
        for worker in self.workers:
            if worker.worker_id == end.worker_id and worker.incarnation == end.incarnation:
                slice_id, task = worker.running()
                if slice_id == end.slice_id and end.task in {task, m.ANY_TASK}:
                    worker.end("cancelled", signal.SIGTERM)

    # ---- the end

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        self.bench.settles = True
        while self.unsaid:
            self.tell_of_an_end()
        helper = self.bench.worker("helper", self.bench.host("helping host"), capabilities=EVERYTHING)
        for _ in range(200):
            self._work_off(helper)
            self.bench.advance(0.1)
            if not self.bench.state.unfinished_tasks:
                break
        self._check_outcomes()

    def _work_off(self, helper: FakeWorker):
        for host in self.hosts:
            while host.end_tasks:
                self._obey(host)
        for worker in [*self.workers, helper]:
            for _ in range(1000):
                if not worker.recalls:
                    break
                worker.give_back()
            assert not worker.recalls, "tasks go to and fro"
            if worker.worker_id in worker.host.entries:
                worker.host.report(**{worker.worker_id: "running"})
            worker.complete_all()

    def _check_outcomes(self):
        state = self.bench.state
        assert state.unfinished_tasks == 0
        assert not state.lost
        assert not state.busy
        for client in self.clients:
            expected = self.expected.get(client, set())
            assert expected <= set(client.outcomes), expected - set(client.outcomes)
            for (batch, task), outcomes in client.outcomes.items():
                assert len(outcomes) == 1, (client, batch, task, outcomes)
                self._check_dependent(client, batch, task, outcomes[0])
        state.check()
        assert not any(worker.slices for worker in state.workers.values())

    def _check_dependent(self, client, batch, task, status):
        """A task has run only with all its results, and has ended otherwise like one that it waited for."""
        sources = self.needs.get((client, batch, task), [])
        lost = {status for key in sources for status in client.outcomes.get(key, ()) if status not in RESULTS}
        if not lost:
            return
        if any((client, *key) in self.cancelled for key in ((batch, task), *sources)):
            lost.add(Status.CANCELLED)
        if self.graphs.get((client, batch)):
            lost.add(Status.REFUSED)
        assert status in lost, (batch, task, sources, status, lost)


Machine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestScheduler = Machine.TestCase
