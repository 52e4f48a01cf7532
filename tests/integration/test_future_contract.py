"""Futures of real tasks: state, cancelling, callbacks, profiles, waiting of every kind, failures with their cause."""

import asyncio
import concurrent.futures
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from scaler import Client, ScalerFuture, SchedulerClusterCombo
from scaler.utility.exceptions import ClientCancelledException, DeserializeObjectError
from tests.integration import failing_tasks
from tests.integration.commands import PATIENCE_SECONDS, wait_until
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def address():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=1, logging_level="WARNING") as combo:
        yield combo.get_address()
        note()


@pytest.fixture
def client(address):
    with Client(address) as client:
        yield client


def hold(path):
    """Say in which process this is, and wait for ever."""
    temporary = path.with_suffix(".new")
    temporary.write_text(str(os.getpid()))
    temporary.rename(path)
    threading.Event().wait()


def hold_reluctantly(path, way):
    """Hold, and when asked to end, end when the way is open."""

    def end(_number, _frame):
        while not way.exists():
            time.sleep(0.001)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    hold(path)


def finish_when_open(begun, path):
    begun.touch()
    while not path.exists():
        time.sleep(0.001)
    return 7


def refuse(text):
    raise LookupError(text)


def pid_in(path):
    wait_until(path.exists)
    return int(path.read_text())


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


# ---- state


def test_only_clients_make_futures(client):
    with pytest.raises(TypeError):
        ScalerFuture()
    future = client.submit(abs, -1)
    assert type(future) is ScalerFuture
    assert isinstance(future, concurrent.futures.Future)


def test_it_runs_from_its_submission_and_is_done_by_itself(client, tmp_path):
    begun, way = tmp_path / "begun", tmp_path / "way"
    first, queued = client.submit(finish_when_open, begun, way), client.submit(abs, -1)
    for future in (first, queued):
        assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
        with pytest.raises(ValueError, match="not ended"):
            future.profiling_info()
        for ask in (future.result, future.exception):
            with pytest.raises(concurrent.futures.TimeoutError):
                ask(timeout=0)
    way.touch()
    wait_until(lambda: first.done() and queued.done())  # nobody waits, nothing is fetched
    assert (first.running(), first.cancelled(), first.result(0), first.exception(0)) == (False, False, 7, None)
    assert first.profiling_info().duration_s > 0


def test_task_ids_are_16_bytes_each_of_its_own(client):
    futures = [client.submit(abs, -number) for number in range(100)]
    assert {(type(future.task_id), len(future.task_id)) for future in futures} == {(bytes, 16)}
    assert len({future.task_id for future in futures}) == 100


# ---- cancelling


def test_a_running_task_is_cancelled_when_its_process_is_gone(client, tmp_path):
    future = client.submit(hold, tmp_path / "pid")
    pid = pid_in(tmp_path / "pid")
    assert future.cancel() is True
    assert not is_there(pid)
    assert future.cancel() is True
    assert (future.done(), future.cancelled(), future.running()) == (True, True, False)
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert client.submit(abs, -1).result() == 1


def test_a_queued_task_is_cancelled_and_never_runs(client, tmp_path):
    begun, way, trace = tmp_path / "begun", tmp_path / "way", tmp_path / "trace"
    running, queued = client.submit(finish_when_open, begun, way), client.submit(trace.touch)
    wait_until(begun.exists)
    assert queued.cancel() is True
    way.touch()
    assert running.result() == 7
    assert client.submit(abs, -1).result() == 1
    assert not trace.exists()


def test_a_result_that_came_first_is_kept(client):
    future = client.submit(abs, -1)
    assert future.result() == 1
    assert future.cancel() is False
    assert (future.cancelled(), future.result()) == (False, 1)
    failed = client.submit(refuse, "text")
    assert isinstance(failed.exception(), LookupError)
    assert failed.cancel() is False


def test_a_request_stands_when_nobody_waits_for_it_any_more(client, tmp_path):
    way = tmp_path / "way"
    future = client.submit(hold_reluctantly, tmp_path / "pid", way)
    pid = pid_in(tmp_path / "pid")
    with pytest.raises(TimeoutError):
        future.cancel(timeout=0.01)
    assert not future.done()
    way.touch()
    concurrent.futures.wait([future])
    assert future.cancelled()
    assert not is_there(pid)


# ---- callbacks


def test_callbacks_find_the_result_once_in_order(client, tmp_path):
    begun, way, seen = tmp_path / "begun", tmp_path / "way", []
    future = client.submit(finish_when_open, begun, way)
    for name in "abc":
        future.add_done_callback(lambda done, name=name: seen.append((name, done is future, done.result(0))))
    assert seen == []
    way.touch()
    wait_until(lambda: len(seen) == 3)
    assert seen == [("a", True, 7), ("b", True, 7), ("c", True, 7)]
    future.add_done_callback(lambda done: seen.append(done.result(0)))
    assert seen[3:] == [7]


def test_errors_of_callbacks_are_logged_and_raised_only_at_once(client, tmp_path, caplog):
    begun, way, seen = tmp_path / "begun", tmp_path / "way", []
    future = client.submit(finish_when_open, begun, way)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(seen.append)
    way.touch()
    assert future.result() == 7
    wait_until(lambda: seen)
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()
    with pytest.raises(ZeroDivisionError):
        future.add_done_callback(lambda _: 1 / 0)
    assert "ZeroDivisionError" in caplog.text


def test_callbacks_learn_of_cancelling_and_failures(client, tmp_path):
    seen = []
    cancelled, failed = client.submit(hold, tmp_path / "pid"), client.submit(refuse, "text")
    cancelled.add_done_callback(lambda done: seen.append(done.cancelled()))
    failed.add_done_callback(lambda done: seen.append(type(done.exception())))
    assert cancelled.cancel()
    wait_until(lambda: len(seen) == 2)
    assert sorted(map(str, seen)) == ["<class 'LookupError'>", "True"]


# ---- waiting


def test_the_standard_library_waits_for_them(client, tmp_path):
    quick = [client.submit(abs, -number) for number in range(50)]
    held = client.submit(hold, tmp_path / "pid")
    done, not_done = concurrent.futures.wait([*quick, held], return_when=concurrent.futures.FIRST_COMPLETED)
    assert held in not_done
    assert done <= set(quick)
    assert sorted(future.result() for future in concurrent.futures.as_completed(quick)) == list(range(50))
    with pytest.raises(TimeoutError):
        list(concurrent.futures.as_completed([held], timeout=0.01))
    failed = client.submit(refuse, "text")
    assert held.cancel()
    assert concurrent.futures.wait([failed, held], return_when=concurrent.futures.ALL_COMPLETED).not_done == set()


def test_an_asyncio_program(client, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        ticks = []

        async def tick():
            while True:
                ticks.append(loop.time())
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        assert await asyncio.gather(*(wrapped(client.submit(abs, -n)) for n in range(200))) == list(range(200))
        with pytest.raises(LookupError, match="text"):
            await client.submit(refuse, "text")
        held = client.submit(hold, tmp_path / "pid")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrapped(held), 0.05)
        assert not held.done()  # who stops waiting ends nothing
        assert await loop.run_in_executor(None, held.cancel)
        with pytest.raises(concurrent.futures.CancelledError):
            await held
        wrapped_future = asyncio.wrap_future(client.submit(abs, -3))
        assert await wrapped_future == 3
        assert len(ticks) > 10  # the loop went on meanwhile
        ticking.cancel()

    async def wrapped(future):
        return await future

    asyncio.run(main())
    loop = asyncio.new_event_loop()  # another one, for a future that is done and one that is not
    done = client.submit(abs, -1)
    done.result()
    assert loop.run_until_complete(wrapped(done)) + loop.run_until_complete(wrapped(client.submit(abs, -2))) == 3
    loop.close()


# ---- failures


def test_a_failure_has_its_remote_traceback(client):
    future = client.submit(refuse, "the text")
    error = future.exception()
    assert (type(error), error.args) == (LookupError, ("the text",))
    assert "raise LookupError(text)\nLookupError: the text" in str(error.__cause__)
    for _ in range(2):
        with pytest.raises(LookupError) as caught:
            future.result()
        assert caught.value is error


def test_what_a_worker_cannot_restore_says_where(client):
    class Gone:
        def __reduce__(self):
            return failing_tasks.misbehave, ("raise",)

        def __call__(self):
            return 1

    for future in (
        client.submit(Gone()),
        client.submit(failing_tasks.give, Gone()),
        client.submit(failing_tasks.give, value=Gone()),
    ):
        error = future.exception(PATIENCE_SECONDS)
        assert type(error) is DeserializeObjectError
        assert "in misbehave" in str(error)
        assert "RuntimeError: no pickling today" in str(error)


def test_a_client_whose_thread_ends_says_so_of_its_futures(address, tmp_path, caplog):
    client = Client(address)
    pending = client.submit(hold, tmp_path / "pid")
    pid_in(tmp_path / "pid")
    client._agent.door.order(lambda: exec("raise SystemExit"))
    with pytest.raises(ClientCancelledException):
        pending.result(PATIENCE_SECONDS)
    assert "the IO thread of a client ended" in caplog.text
    with Client(address) as another:
        assert another.submit(abs, -1).result(PATIENCE_SECONDS) == 1
