"""One client in many threads, many clients in one process, clients in forked and in other processes. Real workers."""

import asyncio
import base64
import concurrent.futures
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from functools import partial

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import ClientQuitException, MissingObjects
from tests.integration.commands import PATIENCE_SECONDS, wait_until
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration

THREADS = 16


@pytest.fixture(scope="module")
def address():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=2, logging_level="WARNING") as combo:
        yield combo.get_address()
        note()


@pytest.fixture
def client(address):
    with Client(address) as client:
        yield client


def add(left, right=0):
    return left + right


def refuse(value):
    raise KeyError(value)


def use_every_method(client, seed):
    """Use all that a client has; raises where an answer is another thread's, or wrong."""
    for turn in range(3):
        base = 1000 * seed + 10 * turn
        futures = [client.submit(add, base + n) for n in range(50)]
        dependent = client.submit(add, futures[3], futures[4])
        assert client.submit(time.sleep, 600).cancel()
        reference = client.send_object([base], name=str(base))
        assert client.map(add, range(base, base + 500), [seed] * 500) == list(range(base + seed, base + seed + 500))
        assert client.starmap(add, ((base, n) for n in range(20))) == list(range(base, base + 20))
        assert client.get({"a": base, "b": (add, "a", "a"), "c": (add, "b")}, ["c"]) == {"c": 2 * base}
        assert client.submit_verbose(add, (reference, [1])).result() == [base, 1]
        with pytest.raises(KeyError, match=str(base)):
            client.map(refuse, [base])
        assert dependent.result() == 2 * base + 7
        assert [future.result() for future in concurrent.futures.as_completed(futures[:5])]
        assert [future.result() for future in futures] == list(range(base, base + 50))
        assert asyncio.run(awaited(client.submit(add, base))) == base
    return seed


async def awaited(future):
    return await future


def test_sixteen_threads_use_all_methods_of_one_client(client):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(partial(use_every_method, client), range(THREADS))) == list(range(THREADS))


def test_a_client_may_be_stopped_while_threads_use_it(address):
    """Each call ends: with its result, or as that of a client that has stopped."""
    client, begun = Client(address), threading.Semaphore(0)

    def use(seed):
        try:
            while True:
                assert client.map(add, [seed]) == [seed]
                assert client.submit(add, seed).result() == seed
                begun.release()
        except (ClientQuitException, concurrent.futures.CancelledError):
            return True

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        ends = [pool.submit(use, seed) for seed in range(THREADS)]
        for _ in range(2 * THREADS):
            assert begun.acquire(timeout=PATIENCE_SECONDS)
        client.disconnect()
        assert all(end.result(PATIENCE_SECONDS) for end in ends)


def test_what_is_submitted_after_the_order_to_end_and_before_the_end_has_an_end_too(address):
    client, busy, way = Client(address), threading.Event(), threading.Event()
    client._agent.door.order(lambda: busy.set() or way.wait())  # the client's own thread
    assert busy.wait(PATIENCE_SECONDS)
    leaving = [threading.Thread(target=client.disconnect) for _ in range(2)]
    for thread in leaving:
        thread.start()
    wait_until(lambda: len(client._agent.door._left) == 2)
    future = client.submit(add, 1)
    graph = client.get({"x": 1, "a": (add, "x")}, ["a"], block=False)
    way.set()
    done, not_done = concurrent.futures.wait([future, graph["a"]], PATIENCE_SECONDS)
    assert not not_done
    assert all(ended.cancelled() for ended in done)
    for thread in leaving:
        thread.join()


def test_several_clients_of_one_process_have_nothing_in_common(address):
    clients = [Client(address) for _ in range(8)]
    assert len({client.identity for client in clients}) == 8
    held = [client.submit(time.sleep, 600) for client in clients]
    references = [client.send_object([number]) for number, client in enumerate(clients)]
    with pytest.raises(MissingObjects):
        clients[0].submit(add, references[1])
    for client in clients[:4]:
        client.disconnect()
    assert [future.done() for future in held] == [True] * 4 + [False] * 4
    clients[4].clear()
    assert [future.done() for future in held] == [True] * 5 + [False] * 3
    held[5].cancel()
    held[6].cancel()  # the workers are free but for one task
    assert clients[7].submit(add, references[7], []).result() == [7]
    assert clients[5].submit(add, references[5], []).result() == [5]
    with pytest.raises(MissingObjects):
        clients[4].submit(add, references[4], [])
    for client in clients:
        client.disconnect()


def test_a_forked_child_has_a_stopped_client_and_may_make_its_own(address, client):
    future, reference = client.submit(time.sleep, 600), client.send_object([1])

    def look():
        uses = [
            lambda: client.submit(add, 1),
            lambda: client.submit_verbose(add, (1,)),
            lambda: client.map(add, [1]),
            lambda: client.starmap(add, [(1,)]),
            lambda: client.get({"a": 1}, ["a"]),
            lambda: client.send_object(1),
            client.clear,
            client.shutdown,
            future.result,
        ]
        for use in uses:
            with pytest.raises(ClientQuitException, match="forked"):
                use()
        client.disconnect()
        with Client(address) as own:
            assert own.identity != client.identity
            assert own.map(add, [1, 2]) == [1, 2]

    assert in_child(look) == ""
    assert future.running()
    assert future.cancel()
    assert client.submit(add, reference, [2]).result() == [1, 2]


def test_forking_while_threads_submit_holds_nothing_up(client):
    stop = threading.Event()

    def submit(seed):
        count = 0
        while not stop.is_set():
            assert client.submit(add, seed).result(PATIENCE_SECONDS) == seed
            count += len(client.map(add, range(50)))
        return count

    def look():
        with pytest.raises(ClientQuitException):
            client.submit(add, 1)
        client.disconnect()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(submit, seed) for seed in range(4)]
        assert [in_child(look) for _ in range(5)] == [""] * 5
        stop.set()
        assert all(count.result(PATIENCE_SECONDS) for count in counts)


def in_child(look):
    """Run a function in a forked child; return what went wrong there."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads
        pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            look()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said


def test_a_pickled_client_connects_in_another_process(client):
    program = (
        "import base64, pickle, sys\n"
        "client = pickle.loads(base64.b64decode(sys.argv[1]))\n"
        "print(client.identity.decode(), client.map(abs, [-1, -2]))\n"
    )
    data = base64.b64encode(pickle.dumps(client)).decode()
    done = subprocess.run([sys.executable, "-c", program, data], capture_output=True, text=True, timeout=60, check=True)
    identity, _, result = done.stdout.strip().partition(" ")
    assert result == "[1, 2]"
    assert identity.startswith("Client|")
    assert identity != client.identity.decode()


def test_nothing_is_left_of_clients_but_what_is_held(address):
    before = threads()
    clients = [Client(address) for _ in range(5)]
    futures = [client.submit(add, 1) for client in clients]
    assert [future.result() for future in futures] == [1] * 5
    del clients
    gc.collect()
    wait_until(lambda: threads() <= before, lambda: f"left over: {threads() - before}")
    assert [future.result() for future in futures] == [1] * 5


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("scaler-")}
