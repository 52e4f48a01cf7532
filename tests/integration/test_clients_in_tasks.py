"""Clients that tasks make one after the other in one process: the next goes on with the connections of the last."""

import os
import pickle
import time

import pytest

from scaler import Client
from scaler.utility.exceptions import ClientQuitException, MissingObjects
from tests.integration.commands import PATIENCE_SECONDS, running, scheduler, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack():
    """Run a scheduler with one worker; gives its command and a client."""
    with (
        scheduler() as (command, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1),
        Client(address) as client,
    ):
        yield command, client


def run(stack, task, *arguments):
    return stack[1].submit(task, *arguments).result(PATIENCE_SECONDS)


# ---- tasks


def double(value):
    return 2 * value


def fail(_):
    raise KeyError("no")


def use_clients(count):
    """Use so many clients one after the other, each for several calls; return who they were."""
    identities = []
    for number in range(count):
        with Client() as client:
            assert client.map(double, [number, number + 1]) == [2 * number, 2 * number + 2]
            assert client.submit(lambda value: value + number, 1).result() == number + 1  # noqa: B023 - at once
            identities.append(client.identity)
    return identities


def use_two_at_once():
    with Client() as first, Client() as second:
        assert [client.submit(double, 4).result() for client in (first, second)] == [8, 8]
        return first.identity, second.identity


def look_back():
    """Return what a client that has left still does, while the next one uses its connections."""
    first = Client()
    kept, fetched = first.submit(double, 1), first.submit(double, 2)
    assert fetched.result() == 4
    kept.exception()
    first.disconnect()
    found = []
    with Client() as second:
        found.append(first.identity == second.identity)
        for call in (lambda: first.submit(double, 1), lambda: first.map(double, [1]), lambda: first.send_object(1)):
            with pytest.raises(ClientQuitException):
                call()
        with pytest.raises(MissingObjects):
            second.submit(double, kept)
        found += [kept.result(), kept.done(), fetched.cancel(), kept.task_id != second.submit(double, 9).task_id]
        first.disconnect()
        found.append(second.submit(double, 5).result())
    return found


def leave_behind(what):
    """Leave something of a client behind; return whether the next one has connections of its own."""
    with Client() as client:
        identity = client.identity
        if what == "an object":
            client.send_object(b"x" * 100_000)
        elif what == "a large result":
            assert len(client.submit(bytes, 100_000).result()) == 100_000
        elif what == "unwanted tasks":
            with pytest.raises(KeyError):
                client.map(fail, range(100))
        elif what == "a future":
            client.submit(time.sleep, PATIENCE_SECONDS)
        elif what == "a shutdown that was refused":
            with pytest.raises(ValueError, match="protected"):
                client.shutdown()
    with Client() as client:
        assert client.submit(double, 4).result() == 8
        return client.identity != identity


def differ():
    """Return whether clients that are not made alike have connections of their own."""
    with Client() as client:
        identity, address = client.identity, str(client._address)
        pickled = pickle.dumps(client)
    others = [Client(timeout_seconds=30), Client(address), Client(stream_output=True), pickle.loads(pickled)]
    for other in others:
        assert other.submit(double, 3).result() == 6
        other.disconnect()
    return [other.identity != identity for other in others]


def use_in_a_fork():
    """Use a client in a forked process, while the connections of one that has left rest in this one."""
    identities = use_clients(1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, use_clients(1)[0])
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as source:
        identities.append(source.read())
    return [*identities, *use_clients(1)]


# ---- tests


def test_clients_after_one_another_are_one_for_the_scheduler(stack):
    command, _ = stack
    identities = run(stack, use_clients, 20)
    again = run(stack, use_clients, 20)

    assert len({*identities, *again}) == 1
    joined = [line for line in command.lines if f"client {identities[0].decode()} of" in line and "joined" in line]
    assert len(joined) == 1


def test_clients_at_the_same_time_are_two(stack):
    first, second = run(stack, use_two_at_once)
    assert first != second


def test_a_client_that_has_left_stays_so_while_the_next_uses_its_connections(stack):
    assert run(stack, look_back) == [True, 2, True, False, True, 10]


@pytest.mark.parametrize(
    ("what", "has_own"),
    [
        ("nothing", False),
        ("an object", True),
        ("a large result", True),
        ("unwanted tasks", True),
        ("a future", True),
    ],
)
def test_connections_go_on_only_where_nothing_is_left_behind(stack, what, has_own):
    assert run(stack, leave_behind, what) is has_own


def test_clients_that_are_not_made_alike_have_their_own(stack):
    assert run(stack, differ) == [True, True, True, True]


def test_a_forked_process_makes_its_own(stack):
    before, forked, after = run(stack, use_in_a_fork)
    assert forked not in {before, b""}
    assert after == before


def test_after_a_while_the_last_one_leaves(stack):
    command, _ = stack
    (identity,) = run(stack, use_clients, 1)
    wait_until(lambda: any(f"client {identity.decode()} left" in line for line in command.lines))
    (other,) = run(stack, use_clients, 1)
    assert other != identity


def test_who_was_refused_a_shutdown_leaves_for_good():
    with (
        scheduler("--protected") as (_, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1),
        Client(address) as client,
    ):
        assert client.submit(leave_behind, "a shutdown that was refused").result(PATIENCE_SECONDS) is True
