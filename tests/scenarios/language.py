"""The language of the scenario files: commands in, the scheduler's messages out, one line each.

A file is a row of paragraphs: commands, `----`, and what the scheduler sends because of them. `#` begins a comment.
Peers are clients (A, B), hosts (H), workers (W1), adapters (N). `A.2[0,3)` are tasks 0 to 2 of A's second batch, `#5`
is the fifth slice. Every command lets the scheduler settle. `needs=1.0,-` says for each task what it waits for.
"""

import re
from collections.abc import Iterator
from signal import Signals

from scaler_protocol import messages as m
from scaler_protocol.batch import MADE_HERE, U32, U64, Status, numbers
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench, inputs

RULE = "----"
_DEFAULT_POLICY = "allocate=even_load; scaling=no"


class Stage:
    """Carries out commands and says what was sent."""

    def __init__(self):
        self.bench = None
        self.settings = {}
        self.policy = _DEFAULT_POLICY

    def run(self, commands):
        """Return the trace of some commands."""
        for line in commands:
            name, *words = line.split()
            getattr(self, "do_" + name.replace("-", "_"))(*words)
        return list(self._trace())

    def peer(self, name):
        return self.bench.peers[name.encode()]

    # ---- the beginning

    def do_policy(self, *words):
        self.policy = " ".join(words)

    def do_setting(self, word):
        key, value = word.split("=")
        self.settings[key] = float(value) if "." in value else int(value)

    def _begin(self):
        if self.bench is None:
            self.bench = Bench(self.policy, **self.settings)

    def do_client(self, name, *words):
        """A client joins; `inside=W1`: one that lives in a process of that worker."""
        self._begin()
        options = _options(words)
        self.bench.client(name, self.peer(options["inside"]) if "inside" in options else None)

    def do_host(self, name):
        self._begin()
        self.bench.host(name)

    def do_worker(self, name, *words):
        self._begin()
        options = _options(words)
        host = self.peer(options.pop("host")) if "host" in options else None
        if "offers" in options:
            options["capabilities"] = _capabilities(options.pop("offers"))
        if "queue" in options:
            options["queue_size"] = int(options.pop("queue"))
        options["suspends"] = options.get("suspends") == "yes"
        self.bench.worker(name, host, **options)

    def do_helper(self, lender):
        """The helper that was lent last to a worker is ready."""
        self.bench.helper(self.peer(lender))

    def do_adapter(self, name, *words):
        self._begin()
        options = _options(words)
        self.bench.adapter(
            name,
            max_groups=int(options.get("groups", 4)),
            workers_per_group=int(options.get("workers", 1)),
            capabilities=_capabilities(options.get("offers", "")),
            groups={
                group_id: m.GroupReport(group_id, "ready", "", [], {})
                for group_id in filter(None, options.get("has", "").split(","))
            },
        )

    # ---- clients

    def do_submit(self, name, tasks, function, *words):
        options = _options(words)
        if "asks" in options:
            options["capabilities"] = _capabilities(options.pop("asks"))
        if "finished" in options:
            options["finished"] = [int(edge) for edge in re.findall(r"\d+", options["finished"])]
        if "blocks" in options:
            options["blocks"] = [int(count) for count in options["blocks"].split(",")]
        if "needs" in options:
            options["needs"] = [_edges(text) for text in options["needs"].split(",")]
        for number in {"priority", "graph", "graph_ready", "batch_id"} & set(options):
            options[number] = int(options[number])
        self.peer(name).submit(int(tasks), function, **options)

    def do_cancel(self, span):
        name, batch, start, stop = re.fullmatch(r"(\w+)\.(\d+)\[(\d+),(\d+)\)", span).groups()
        self.peer(name).cancel(int(batch), int(start), int(stop) - int(start))

    def do_abandon(self, batch):
        name, _, number = batch.partition(".")
        self.peer(name).abandon(int(number))

    def do_forget(self, name, *functions):
        self.peer(name).forget(*functions)

    def do_shutdown(self, name):
        self.peer(name).say(m.RequestShutdown())

    def do_congested(self, name):
        self.bench.handle(c.Congested(name.encode()))

    def do_relieved(self, name):
        self.bench.handle(c.Relieved(name.encode()))

    # ---- workers and hosts

    def do_complete(self, name, tasks="1", *words):
        options = _options(words)
        seconds = float(options.get("seconds", 0.001))
        self.peer(name).complete(int(tasks), seconds=seconds, status=Status[options.get("status", "VALUE")])

    def do_give_back(self, name):
        self.peer(name).give_back()

    def do_end(self, name, cause, code="0", *words):
        """The process ends, the host says so; `gone`: no other comes, `idle`: it ran nothing."""
        worker = self.peer(name)
        worker.end(cause, _code(code), idle="idle" in words, hello="gone" not in words, detail=f"{cause} {code}")

    def do_replace(self, name):
        """The next process greets; that the last has ended is not known yet."""
        worker = self.peer(name)
        worker.before = (worker.incarnation, *worker.running())
        worker.slices.clear()
        worker.incarnation += 1
        worker.hello(group=worker.group, queue_size=worker.queue_size, capabilities=worker.capabilities)

    def do_ended(self, name, cause, code="0"):
        """The host says how the process before the current one ended."""
        worker = self.peer(name)
        incarnation, slice_id, task = worker.before
        worker.host.say(m.ProcessEnded(name, incarnation, cause, _code(code), slice_id, task, True, f"{cause} {code}"))

    def do_report(self, name, *words):
        self.peer(name).report(**_options(words))

    def do_leave(self, name, *reason):
        self.peer(name).leave(" ".join(reason))

    # ---- adapters

    def do_obey(self, name, state="ready"):
        self.peer(name).obey(state)

    def do_group(self, name, group_id, state, *reason):
        self.peer(name).set(group_id, state, " ".join(reason))

    def do_status(self, name, group_id, status, *reason):
        self.peer(name).report(m.GroupStatus(group_id, status, " ".join(reason)))

    def do_capacity(self, name, groups):
        self.peer(name).max_groups = int(groups)
        self.peer(name).report()

    # ---- connections and time

    def do_detached(self, name):
        self.bench.handle(c.PeerDetached(name.encode()))

    def do_attached(self, name):
        self.bench.handle(c.PeerAttached(name.encode()))

    def do_wait(self, seconds):
        self.bench.advance(float(seconds))

    # ---- the trace

    def _trace(self) -> Iterator[str]:
        for peer, message in self.bench.effects.pairs() if self.bench else ():
            yield f"{peer.decode()} <- {_FORMATS[type(message)](message)}"
        if self.bench:
            yield from (f"warning: {text}" for text in self.bench.warnings())
            self.bench.logs.clear()
            if self.bench.stopped:
                yield f"stop: {self.bench.stopped}"


def _options(words):
    return dict(word.split("=", 1) for word in words)


def _capabilities(text):
    pairs = (item.partition(":") for item in filter(None, text.split(",")))
    return {name: int(value or -1) for name, _, value in pairs}


def _edges(text):
    """Read what a task waits for: `1.0+1.2` are tasks 0 and 2 of the first batch, `-` is nothing."""
    pairs = (item.partition(".") for item in text.split("+") if item != "-")
    return [(int(batch), int(task)) for batch, _, task in pairs]


def _code(text):
    return int(Signals[text]) if text.startswith("SIG") else int(text)


def _name(function_id):
    return function_id.decode().rstrip(".")


def _assign(a):
    blocks = a.payload[: sum(numbers(U32, a.block_sizes))].decode().rstrip(";").replace(";", " ")
    span = f"{a.client_id.decode()}.{a.batch_id}[{a.start},{a.stop})"
    given = ", ".join("+".join(map(_input, results)) or "nothing" for results in inputs(a))
    return f"assign #{a.slice_id} {span} {_name(a.function_id)} ({blocks})" + (f" given {given}" if given else "")


def _input(result):
    """A result that comes along, or the task of the same slice that makes it."""
    status, position, run = result
    return f"[{position}]" if status == MADE_HERE else run.decode()


def _recall(recall):
    pairs = zip(numbers(U64, recall.slice_ids), numbers(U32, recall.limits), strict=True)
    return "recall " + ", ".join(f"#{slice_id} from {limit}" for slice_id, limit in pairs)


def _results(results):
    runs = []
    for start, count, status in zip(
        numbers(U32, results.starts), numbers(U32, results.counts), results.statuses, strict=True
    ):
        if runs and runs[-1][1:] == [start, status]:
            runs[-1][1] = start + count
        else:
            runs.append([start, start + count, status])
    spans = ", ".join(f"{results.batch_id}[{start},{stop}) {Status(status).name}" for start, stop, status in runs)
    text = results.payload.decode().replace("\n", " / ")
    said_by_scheduler = results.statuses[0] > Status.VALUES and text and not text.isdigit()
    return f"results {spans}" + (f": {text}" if said_by_scheduler else "")


def _command(command):
    wanted = " ".join(spec.group_id for spec in command.groups) or "none"
    parts = [f"command {command.revision}: want {wanted}"]
    parts += [f"stop {' '.join(command.stop)}"] * bool(command.stop)
    parts += [f"registered {' '.join(command.registered)}"] * bool(command.registered)
    return "; ".join(parts)


def _end_task(end):
    task = "any task" if end.task == m.ANY_TASK else f"task {end.task}"
    return f"end {end.worker_id} (process {end.incarnation}) if it runs {task} of #{end.slice_id}"


_FORMATS = {
    m.DefineFunction: lambda message: f"define {_name(message.function_id)}",
    m.ForgetFunctions: lambda message: f"forget {' '.join(map(_name, message.function_ids))}",
    m.AssignSlice: _assign,
    m.RecallSlices: _recall,
    m.TaskResults: _results,
    m.EndTask: _end_task,
    m.LendSlot: lambda message: f"lend the slot of {message.worker_id} to {message.helper_id}",
    m.EndHelpers: lambda message: f"end helpers {' '.join(message.helper_ids)}",
    m.SuspendWorker: lambda message: f"{'suspend' if message.suspended else 'resume'} {message.worker_id}",
    m.WorkersDrained: lambda message: f"drained {' '.join(message.worker_ids)}",
    m.AdapterCommand: _command,
    m.Notice: lambda message: f"notice ({message.cause}): {message.text}",
    m.Shutdown: lambda message: f"shutdown: {message.reason}",
    m.ShutdownRefused: lambda message: f"shutdown refused: {message.reason}",
}
