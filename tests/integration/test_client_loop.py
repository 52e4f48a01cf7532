"""The client over real sockets, against a scheduler that is played by a thread."""

import asyncio
import concurrent.futures
import gc
import operator
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from scaler_client.client import Client
from scaler_client.exceptions import (
    ClientQuitException,
    ClientShutdownException,
    DeserializeObjectError,
    SchedulerWarning,
)
from scaler_client.serializer import Serializer
from scaler_protocol.batch import MAX_INLINE_BYTES
from tests.integration.echo_scheduler import echo_scheduler

pytestmark = pytest.mark.integration


class Marked(Serializer):
    """Marks what it serialized."""

    @staticmethod
    def serialize(obj):
        return b"marked" + pickle.dumps(obj)

    @staticmethod
    def deserialize(payload):
        assert bytes(payload).startswith(b"marked")
        return pickle.loads(bytes(payload)[6:])


def io_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("scaler-")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(io_threads())
    yield
    gc.collect()
    for thread in set(io_threads()) - before:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def address(tmp_path):
    return f"ipc://{tmp_path}/socket"


@pytest.fixture
def scheduler(address):
    with echo_scheduler(address) as scheduler:
        yield scheduler


@pytest.fixture
def client(scheduler):
    with Client(scheduler.address, timeout_seconds=20) as client:
        yield client


def held_future(scheduler, client, *args):
    scheduler.holding = True
    before = len(scheduler.batches)
    future = client.submit(operator.neg, *(args or (1,)))
    scheduler.wait_for(lambda: len(scheduler.batches) > before)
    return future


def test_calls_of_all_kinds(client):
    offset = 10
    assert client.submit(operator.neg, 3).result(10) == -3
    assert client.submit(int, "ff", base=16).result(10) == 255
    assert client.submit(lambda a, *rest, k=0, **more: (a, rest, k, more), 1, 2, k=3, z=4).result(10) == (
        1,
        (2,),
        3,
        {"z": 4},
    )
    assert client.submit(lambda x: x + offset, 1).result(10) == 11
    assert client.submit_verbose(max, (1, 5)).result(10) == 5
    assert client.submit_verbose(int, ("ff",), {"base": 16}, {"gpu": -1}).result(10) == 255
    assert client.map(operator.neg, range(10_000)) == list(range(0, -10_000, -1))
    assert client.map(operator.add, [1, 2, 3], iter([10, 20])) == [11, 22]
    assert client.map(len, iter([[1], [2, 3], []])) == [1, 2, 0]
    assert client.map(operator.neg, []) == []
    assert client.map(operator.neg, (n for n in range(5000)))[-1] == -4999
    assert client.starmap(pow, [(2, 3), (2, 4), [3, 2]]) == [8, 16, 9]
    assert client.starmap(int, [("7",), ("ff", 16)]) == [7, 255]
    assert client.starmap(pow, []) == []


def test_arguments_that_do_not_fit_are_refused_where_they_are_submitted(client):
    with pytest.raises(TypeError, match="neg"):
        client.submit(operator.neg)
    with pytest.raises(TypeError):
        client.submit(lambda a: a, b=1)
    with pytest.raises(TypeError):
        client.map(operator.neg, [1], [2])
    with pytest.raises(TypeError):
        client.starmap(lambda a: a, [(1,), (1, 2)])
    with pytest.raises(TypeError, match="iterable"):
        client.map(operator.neg)
    with pytest.raises(TypeError, match="ScalerFuture"):
        client.submit(len, [client.submit(operator.neg, 1)])
    with pytest.raises(ValueError, match="gpu"):
        client.submit_verbose(operator.neg, (1,), capabilities={"gpu": -2})
    assert client.submit(operator.neg, 1).result(10) == -1


def test_one_sequence_of_tuples_is_unpacked_with_a_warning(client):
    for items in ([(2, 3), (3, 2)], ([2, 3], (3, 2))):
        with pytest.warns(DeprecationWarning, match="starmap") as caught:
            assert client.map(pow, items) == [8, 9]
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.map(sum, iter([(2, 3), (3, 2)])) == [5, 5]


def test_profiling_is_dropped_where_it_is_not_taken(client):
    with pytest.warns(DeprecationWarning, match="profiling") as caught:
        assert client.submit(operator.neg, 1, profiling=True).result(10) == -1
    assert caught[0].filename == __file__


def test_values_that_are_too_large_are_refused_where_they_are_submitted(client):
    large = bytes(MAX_INLINE_BYTES + 1)
    for attempt in (
        lambda: client.submit(len, large),
        lambda: client.map(len, [b"", large]),
        lambda: client.submit(lambda: large),
    ):
        with pytest.raises(ValueError, match=str(MAX_INLINE_BYTES)):
            attempt()
    assert client.submit(len, bytes(MAX_INLINE_BYTES - 1000)).result(20) == MAX_INLINE_BYTES - 1000


def test_an_exception_of_a_task_is_raised_and_leaves_the_client_connected(client):
    with pytest.raises(ZeroDivisionError):
        client.submit(operator.truediv, 1, 0).result(10)
    with pytest.raises(ValueError, match="'b'") as caught:
        client.map(int, ["1", "b", "2", "c"])
    assert "echo_scheduler" in str(caught.value.__cause__)
    with pytest.raises(ZeroDivisionError):
        client.map(operator.truediv, iter(range(100_000)), iter([1] * 5000 + [0] * 95_000))
    assert client.map(operator.neg, [1]) == [-1]


def test_futures_work_with_the_standard_library(client):
    futures = [client.submit(operator.neg, n) for n in range(500)]
    assert concurrent.futures.wait(futures, 10).not_done == set()
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures, 10)) == list(range(-499, 1))
    slow = [client.submit(len, [n]) for n in range(500)]
    assert sum(future.result() for future in concurrent.futures.as_completed(slow, 10)) == 500

    async def main():
        return await asyncio.gather(*[_await(client.submit(operator.neg, n)) for n in range(100)])

    async def _await(future):
        return await future

    assert asyncio.run(main()) == list(range(0, -100, -1))


def test_callbacks_may_wait_for_other_futures(client):
    results = []
    done = threading.Event()

    def follow(future):
        results.append(client.submit(operator.neg, future.result()).result(10))
        done.set()

    client.submit(operator.neg, 4).add_done_callback(follow)
    assert done.wait(10)
    assert results == [4]


def test_cancelling(scheduler, client):
    future = held_future(scheduler, client)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    assert future.cancel(10)
    assert future.cancelled()
    scheduler.release()
    done = client.submit(operator.neg, 1)
    assert done.result(10) == -1
    assert not done.cancel()


def test_a_call_is_cancelled_before_anybody_packed_it(scheduler, client):
    scheduler.holding = True
    futures = [client.submit(operator.neg, n) for n in range(5)]
    assert all(future.cancel(10) for future in futures)


def test_clear_ends_everything_and_leaves_the_client_usable(scheduler, client):
    futures = [held_future(scheduler, client) for _ in range(3)]
    client.clear()
    assert all(future.cancelled() for future in futures)
    scheduler.release()
    assert client.submit(operator.neg, 1).result(10) == -1
    client.clear()


def test_disconnecting_cancels_and_says_goodbye(scheduler):
    client = Client(scheduler.address)
    future = held_future(scheduler, client)
    called = []
    future.add_done_callback(lambda f: called.append(f.cancelled()))
    client.disconnect()
    client.disconnect()
    assert future.cancelled()
    scheduler.wait_for(lambda: scheduler.left == scheduler.joined)
    for attempt in (
        lambda: client.submit(operator.neg, 1),
        lambda: client.submit_verbose(operator.neg, (1,)),
        lambda: client.map(operator.neg, [1]),
        lambda: client.map(operator.neg, []),
        lambda: client.starmap(operator.neg, [(1,)]),
        client.clear,
        client.shutdown,
    ):
        with pytest.raises(ClientQuitException):
            attempt()


def test_a_map_ends_when_its_client_is_disconnected(scheduler):
    client = Client(scheduler.address)
    scheduler.holding = True
    outcome = []

    def run():
        try:
            client.map(operator.neg, range(10))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    scheduler.wait_for(lambda: scheduler.batches)
    client.disconnect()
    thread.join(10)
    assert type(outcome[0]) is concurrent.futures.CancelledError


def test_a_client_that_nobody_refers_to_disconnects(scheduler):
    client = Client(scheduler.address)
    future = held_future(scheduler, client)
    del client
    gc.collect()
    scheduler.wait_for(lambda: scheduler.left == scheduler.joined)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(10)


def test_hints_become_warnings_once_per_client_and_cause(scheduler, client):
    with Client(scheduler.address) as other, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            scheduler.notify("scaling-off", "set --policy-content")
        scheduler.notify("capability", "nobody offers gpu")
        for one in (client, other):
            assert one.submit(operator.neg, 1).result(10) == -1
    texts = [str(warning.message) for warning in caught if warning.category is SchedulerWarning]
    assert sorted(texts) == ["nobody offers gpu"] * 2 + ["set --policy-content"] * 2


def test_a_new_scheduler_at_the_address_gets_the_unfinished_tasks(address):
    with echo_scheduler(address) as first:
        client = Client(address, timeout_seconds=20)
        futures = [held_future(first, client, n) for n in range(3)]
        first.release()
        assert [future.result(10) for future in futures] == [0, -1, -2]
        futures = [held_future(first, client, n) for n in range(3)]
    with echo_scheduler(address) as second:
        assert [future.result(10) for future in futures] == [0, -1, -2]
        assert [batch.batch_id for batch in second.batches] == [4, 5, 6]
        assert client.map(operator.neg, range(5)) == [0, -1, -2, -3, -4]
        client.disconnect()
        second.wait_for(lambda: second.left)


def test_no_scheduler(address):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=address):
        Client(address, timeout_seconds=0.3)
    assert time.monotonic() - began < 3


def test_a_silent_scheduler_fails_the_futures_and_may_come_back(address):
    with echo_scheduler(address) as scheduler, Client(address, timeout_seconds=0.6) as client:
        scheduler.deaf = True
        future = client.submit(operator.neg, 1)
        with pytest.raises(TimeoutError, match=r"silent for 0\.6 seconds"):
            future.result(10)
        assert future.done()
        scheduler.deaf = False
        assert client.submit(operator.neg, 2).result(10) == -2


def test_an_idle_client_is_no_silence(address):
    with echo_scheduler(address) as scheduler, Client(address, timeout_seconds=0.3) as client:
        future = held_future(scheduler, client)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(1)
        assert future.running()


def test_a_refused_client(address):
    with (
        echo_scheduler(address, roles=("worker",)),
        pytest.raises(ClientQuitException, match="knows no role 'client'"),
    ):
        Client(address)


def test_a_client_that_is_turned_away_later_says_so_of_its_futures(address):
    with echo_scheduler(address) as first:
        client = Client(address, timeout_seconds=20)
        future = held_future(first, client)
    with echo_scheduler(address, roles=("worker",)):
        with pytest.raises(ClientQuitException, match="knows no role 'client'"):
            future.result(20)
        with pytest.raises(ClientQuitException, match="knows no role 'client'"):
            client.submit(operator.neg, 1)


def test_shutting_down(scheduler):
    client, other = Client(scheduler.address), Client(scheduler.address)
    future = held_future(scheduler, other)
    client.shutdown()
    with pytest.raises(ClientShutdownException):
        future.result(10)
    with pytest.raises(ClientQuitException):
        other.submit(operator.neg, 1)


def test_a_protected_scheduler_refuses(address):
    with echo_scheduler(address, protected=True):
        client = Client(address)
        with pytest.raises(ValueError, match=r"Scheduler is in protected mode\. Can't shutdown"):
            client.shutdown()
        with pytest.raises(ClientQuitException):
            client.submit(operator.neg, 1)


def test_a_custom_serializer_is_used_for_each_value(scheduler):
    with Client(scheduler.address, serializer=Marked()) as client:
        assert client.map(operator.neg, range(100)) == list(range(0, -100, -1))
        assert client.submit(dict, a=[1]).result(10) == {"a": [1]}
        assert client.submit(len, [1]).result(10) == 1


def test_pickling_makes_a_new_client(scheduler):
    with Client(scheduler.address, True, 30, 3, Marked()) as client, pickle.loads(pickle.dumps(client)) as copy:
        assert copy.identity != client.identity
        assert copy.identity.startswith(b"Client|")
        assert len(copy.identity) == 39
        assert copy.__reduce__() == client.__reduce__() or copy.__reduce__()[1][:4] == client.__reduce__()[1][:4]
        assert copy.submit(operator.neg, 1).result(10) == -1
        assert "connected" in repr(copy)


def test_small_credits_let_everything_through(address):
    with echo_scheduler(address, max_tasks=10, max_bytes=1000) as scheduler, Client(address) as client:
        assert client.map(operator.neg, range(30_000)) == list(range(0, -30_000, -1))
        futures = [client.submit(len, "x" * n) for n in range(1000)]
        assert [future.result(10) for future in futures] == list(range(1000))
        assert scheduler.batches


def test_many_threads_share_a_client(client):
    def work(seed):
        futures = [client.submit(operator.neg, seed * 1000 + n) for n in range(200)]
        mapped = client.map(operator.neg, range(seed, seed + 3000))
        return [f.result(20) for f in futures] == [-(seed * 1000 + n) for n in range(200)] and mapped[0] == -seed

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))


def test_results_that_cannot_be_restored_here(client):
    class Away:
        def __reduce__(self):
            return operator.truediv, (1, 0)

    with pytest.raises(DeserializeObjectError, match="ZeroDivisionError"):
        client.submit(lambda kind: kind(), Away).result(10)


def test_in_a_forked_process_the_client_counts_as_stopped(scheduler, client):
    future = held_future(scheduler, client)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answers = []
            for attempt in (lambda: client.submit(operator.neg, 1), lambda: future.result(5), client.clear):
                try:
                    attempt()
                except ClientQuitException:
                    answers.append(b"quit ")
            client.disconnect()
            del client
            gc.collect()
            with Client(scheduler.address, timeout_seconds=10) as own:
                answers.append(b"%d" % len(own.identity))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            answers.append(repr(error).encode())
        os.write(write, b"".join(answers))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"quit quit quit 39"
    assert os.waitpid(pid, 0)[1] == 0
    scheduler.release()
    assert future.result(10) == -1


def run_script(text, address):
    script = textwrap.dedent(text).replace("ADDRESS", repr(address))
    return subprocess.run([sys.executable, "-c", script], timeout=20, capture_output=True, text=True, check=False)


def test_a_program_may_end_without_disconnecting(scheduler):
    scheduler.holding = True
    done = run_script(
        """
        import operator
        from scaler_client.client import Client
        client = Client(ADDRESS)
        future = client.submit(operator.neg, 1)
        """,
        scheduler.address,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    scheduler.wait_for(lambda: scheduler.left == scheduler.joined)


def test_a_forked_child_ends_in_order_and_harms_nobody(scheduler):
    done = run_script(
        """
        import multiprocessing, operator
        from scaler_client.client import Client
        client = Client(ADDRESS)
        child = multiprocessing.get_context("fork").Process(target=print, args=("child",), kwargs={"flush": True})
        child.start()
        child.join(10)
        print(child.exitcode, client.submit(operator.neg, 1).result(10), flush=True)
        client.disconnect()
        """,
        scheduler.address,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n0 -1\n", "")


def test_ctrl_c_ends_a_map_and_leaves_the_client_connected(scheduler):
    done = run_script(
        """
        import operator, signal, threading
        from scaler_client.client import Client
        with Client(ADDRESS) as client:
            main = threading.get_ident()
            def slow():
                yield 1
                threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT)).start()
                threading.Event().wait(60)
            try:
                client.map(operator.neg, slow())
            except KeyboardInterrupt:
                print(client.map(operator.neg, [1]))
        """,
        scheduler.address,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[-1]\n", "")
