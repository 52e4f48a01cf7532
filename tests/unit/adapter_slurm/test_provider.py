"""Slurm as an engine, with a Slurm that runs nothing."""

import asyncio

import pytest

from scaler_adapter_core.provider import (
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    ProviderError,
    TerminateMode,
    UnitState,
)
from scaler_adapter_slurm.provider import SUBMISSIONS_AT_ONCE
from scaler_protocol.identifiers import worker_ids_of
from tests.unit.adapter_slurm.fake_slurm import NOW, Stage, job

ACCEPTED, EXISTS, UNKNOWN = LaunchResult.ACCEPTED, LaunchResult.ALREADY_EXISTS, LaunchResult.UNKNOWN
REFUSED = LaunchOutcome(LaunchResult.INVALID, "invalid partition")
NO_ANSWER = LaunchOutcome(UNKNOWN, "timed out")


def specs(*group_ids):
    return [LaunchSpec(group_id, {"gpu": 1}) for group_id in group_ids]


def results(outcomes):
    return [outcome.result for outcome in outcomes]


def on_stage(scenario):
    """Run a scenario within a loop; it gets a stage of its own."""

    def test():
        async def run():
            stage = Stage()
            await scenario(stage)
            await stage.provider.close()

        asyncio.run(run())

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


# ---- launch


@on_stage
async def test_a_group_is_a_job_under_its_id(stage):
    assert results(await stage.provider.launch(specs("a", "b"))) == [ACCEPTED, ACCEPTED]
    units = await stage.units()

    assert units.keys() == {"a", "b"}
    assert units["a"].state is UnitState.PENDING
    assert units["a"].worker_ids == worker_ids_of("a", "SLM", 1)
    assert units["a"].capabilities == {"gpu": 1}


@on_stage
async def test_an_id_that_was_seen_is_not_submitted_again(stage):
    stage.add("a", "COMPLETED")
    await stage.units()

    assert results(await stage.provider.launch(specs("a", "b"))) == [EXISTS, ACCEPTED]
    assert len(stage.slurm.submitted) == 1


@on_stage
async def test_an_id_that_was_submitted_and_not_seen_yet_is_not_submitted_again(stage):
    await stage.provider.launch(specs("a"))

    assert results(await stage.provider.launch(specs("a"))) == [EXISTS]
    assert len(stage.slurm.table) == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_job_that_may_be_there_is_looked_for_first(is_there):
    @on_stage
    async def scenario(stage):
        stage.slurm.outcomes, stage.slurm.starts_unknown = [NO_ANSWER], is_there
        assert results(await stage.provider.launch(specs("a"))) == [UNKNOWN]
        assert results(await stage.provider.launch(specs("a"))) == [EXISTS if is_there else ACCEPTED]
        assert len(stage.slurm.table) == 1

    scenario()


@on_stage
async def test_nothing_is_submitted_while_slurm_cannot_say_whether_it_is_there(stage):
    stage.slurm.outcomes = [NO_ANSWER]
    await stage.provider.launch(specs("a"))
    stage.slurm.error = ProviderError("squeue has not answered")

    with pytest.raises(ProviderError):
        await stage.provider.launch(specs("a"))
    assert len(stage.slurm.submitted) == 1


@on_stage
async def test_a_submission_goes_on_where_its_call_is_cut_off(stage):
    stage.slurm.gate.clear()
    call = asyncio.ensure_future(stage.provider.launch(specs("a")))
    await stage.slurm.begun.wait()
    call.cancel()
    await asyncio.wait([call])
    again = asyncio.ensure_future(stage.provider.launch(specs("a")))
    stage.slurm.gate.set()

    assert results(await again) == [EXISTS]
    assert len(stage.slurm.table) == 1


@on_stage
async def test_what_stops_one_stops_those_behind_it(stage):
    stage.slurm.outcomes = [REFUSED] * SUBMISSIONS_AT_ONCE
    outcomes = await stage.provider.launch(specs(*(f"g{number}" for number in range(20))))

    assert outcomes == [REFUSED] * 20
    assert len(stage.slurm.submitted) == SUBMISSIONS_AT_ONCE


@on_stage
async def test_where_one_outcome_is_unknown_those_behind_it_are_not_tried(stage):
    stage.slurm.outcomes = [NO_ANSWER] * SUBMISSIONS_AT_ONCE
    outcomes = await stage.provider.launch(specs(*(f"g{number}" for number in range(6))))

    assert results(outcomes) == [UNKNOWN] * 4 + [LaunchResult.UNAVAILABLE] * 2


@on_stage
async def test_a_refusal_does_not_hold_up_the_next_call(stage):
    stage.slurm.outcomes = [REFUSED]
    await stage.provider.launch(specs("a"))

    assert results(await stage.provider.launch(specs("b"))) == [ACCEPTED]


@on_stage
async def test_an_id_that_is_no_name_is_refused(stage):
    assert results(await stage.provider.launch(specs("a/../b"))) == [LaunchResult.INVALID]
    assert not stage.slurm.submitted


# ---- observe


@on_stage
async def test_jobs_of_others_are_not_shown(stage):
    stage.slurm.add("scaler-00000000-a")
    stage.slurm.add("simulation")

    assert await stage.units() == {}


@on_stage
async def test_jobs_of_an_earlier_process_are_shown_with_what_is_in_them(stage):
    stage.add("a", comment='{"name": "bob", "workers": 2, "capabilities": {"fast": -1}}')
    unit = (await stage.units())["a"]

    assert (unit.state, unit.worker_ids, unit.capabilities) == (
        UnitState.RUNNING,
        worker_ids_of("a", "bob", 2),
        {"fast": -1},
    )


@on_stage
async def test_a_second_job_of_a_group_is_cancelled(stage):
    first, second = stage.add("a"), stage.add("a", "PENDING")

    assert (await stage.units())["a"].state is UnitState.RUNNING
    assert stage.slurm.calls == [("cancel", [second])]
    assert first != second


@on_stage
async def test_a_job_that_slurm_begins_again_has_failed_and_is_cancelled(stage):
    job_id = stage.add("a", "PENDING", restarts=1)
    unit = (await stage.units())["a"]

    assert (unit.state, stage.slurm.calls) == (UnitState.FAILED, [("cancel", [job_id])])
    assert "back into its queue" in unit.reason


@on_stage
async def test_a_look_that_fails_is_not_an_empty_one(stage):
    stage.slurm.error = ProviderError("Unable to contact slurm controller")

    with pytest.raises(ProviderError, match="controller"):
        await stage.provider.observe()


def test_a_failed_job_is_explained_by_its_output(tmp_path):
    async def scenario():
        stage = Stage(tmp_path)
        stage.add("a", "FAILED", exit_code=1, nodes="n1")
        stage.submission.log("a").write_text("one\ntwo\nits preload failed\n")
        assert (await stage.units())[
            "a"
        ].reason == "job 1 on n1: ended with exit code 1: one | two | its preload failed"
        assert await stage.provider.diagnose("a") == (await stage.units())["a"].reason
        await stage.provider.close()

    asyncio.run(scenario())


# ---- terminate


@pytest.mark.parametrize(
    ("mode", "call"), [(TerminateMode.STOP, "TERM"), (TerminateMode.DRAIN, "TERM"), (TerminateMode.KILL, "kill")]
)
def test_a_job_that_runs_is_signalled_and_one_that_waits_is_cancelled(mode, call):
    @on_stage
    async def scenario(stage):
        runs, waits = stage.add("a"), stage.add("b", "PENDING")
        young, ended = stage.add("c", start_time=NOW - 1), stage.add("d", "COMPLETED")
        await stage.provider.terminate(["a", "b", "c", "d", "e"], mode, 3.0)
        assert stage.slurm.calls == [(call, [runs]), ("cancel", [waits, young])]
        assert ended

    scenario()


@on_stage
async def test_a_job_that_cannot_be_signalled_keeps_no_other_from_being_cancelled(stage):
    runs, waits = stage.add("a"), stage.add("b", "PENDING")
    stage.slurm.signal_error = ProviderError("scancel has ended with exit code 1")

    with pytest.raises(ProviderError, match="exit code 1"):
        await stage.provider.terminate(["a", "b"], TerminateMode.STOP, 3.0)
    assert stage.slurm.calls == [("TERM", [runs]), ("cancel", [waits])]


@pytest.mark.parametrize("state", ["COMPLETED", "COMPLETING", None])
def test_that_one_has_ended_just_now_is_no_failure_to_ask_the_others(state):
    @on_stage
    async def scenario(stage):
        jobs = [stage.add("a"), stage.add("b")]

        async def signal_script(job_ids, name):
            stage.slurm.calls.append((name, job_ids))
            del stage.slurm.table[jobs[0]]
            if state:
                stage.slurm.table[jobs[0]] = job(state, job_id=jobs[0], name=stage.submission.job_name("a"))
            raise ProviderError("scancel has ended with exit code 1")

        stage.slurm.signal_script = signal_script
        await stage.provider.terminate(["a", "b"], TerminateMode.STOP, 3.0)
        assert stage.slurm.calls == [("TERM", jobs)]

    scenario()


@on_stage
async def test_a_suspended_job_which_hears_only_sigkill_is_cancelled(stage):
    runs, suspended = stage.add("a"), stage.add("b", "SUSPENDED")
    await stage.provider.terminate(["a", "b"], TerminateMode.STOP, 3.0)
    assert stage.slurm.calls == [("TERM", [runs]), ("cancel", [suspended])]
    await stage.provider.terminate(["a", "b"], TerminateMode.KILL, 0.0)
    assert stage.slurm.calls[2:] == [("kill", [runs, suspended])]


@on_stage
async def test_a_job_that_is_ending_is_not_asked_to(stage):
    stage.add("a", "COMPLETING")
    for mode in TerminateMode:
        await stage.provider.terminate(["a"], mode, 3.0)
    assert stage.slurm.calls == []


@on_stage
async def test_a_job_that_was_asked_to_end_has_not_failed(stage):
    job_id = stage.add("a")
    await stage.provider.terminate(["a"], TerminateMode.STOP, 3.0)
    stage.slurm.set(job_id, states=frozenset({"FAILED"}), signal=9)

    assert (await stage.units())["a"].state is UnitState.GONE


@on_stage
async def test_a_submission_under_way_is_awaited_and_ended(stage):
    stage.slurm.gate.clear()
    call = asyncio.ensure_future(stage.provider.launch(specs("a")))
    await stage.slurm.begun.wait()
    end = asyncio.ensure_future(stage.provider.terminate(["a"], TerminateMode.STOP, 3.0))
    await asyncio.sleep(0)
    stage.slurm.gate.set()
    await asyncio.gather(call, end)

    assert stage.slurm.calls == [("cancel", [1])]


# ---- time limits


@on_stage
async def test_the_partitions_own_limit_ends_a_job_as_one_that_was_asked_for(stage):
    assert not [word for word in stage.submission.arguments(specs("a")[0]) if word.startswith("--time=")]
    stage.add("a", end_time=NOW + 29)
    stage.add("b", end_time=NOW + 31)
    units = await stage.units()

    assert (units["a"].state, units["b"].state) == (UnitState.DRAINING, UnitState.RUNNING)
    assert units["a"].reason == "the time limit of job 1 is near"


def test_that_jobs_are_too_short_is_said_once(caplog):
    @on_stage
    async def scenario(stage):
        stage.add("waits", "PENDING", end_time=NOW + 60, start_time=NOW)
        stage.add("long", end_time=NOW + 91, start_time=NOW)
        await stage.units()
        assert not caplog.records
        for group_id in "ab":
            stage.add(group_id, end_time=NOW + 60, start_time=NOW)
            await stage.units()
        (record,) = caplog.records
        assert record.getMessage().startswith("job 3 has 60 seconds, and its workers may leave 90 seconds before that")

    scenario()


# ---- diagnose, close, and looking sooner


@on_stage
async def test_a_wait_is_diagnosed(stage):
    stage.add("a", "PENDING", reason="Resources", submit_time=NOW - 60)
    await stage.units()

    assert await stage.provider.diagnose("a") == "job 1 waits: Resources"
    assert await stage.provider.diagnose("nobody") == ""


@on_stage
async def test_closing_ends_a_submission_that_hangs(stage):
    stage.slurm.gate.clear()
    call = asyncio.ensure_future(stage.provider.launch(specs("a")))
    await stage.slurm.begun.wait()
    await stage.provider.close()
    await asyncio.wait([call])

    assert call.cancelled()


def next_look(stage):
    """Return in how many seconds it will ask to be looked at, None for never."""
    handle = stage.provider._look
    return None if handle is None or handle.cancelled() else round(handle.when() - asyncio.get_running_loop().time(), 1)


@on_stage
async def test_after_a_launch_it_is_looked_at_more_and_more_rarely_until_the_poll_suffices(stage):
    await stage.provider.launch(specs("a"))
    looks = [next_look(stage)]
    while next_look(stage) is not None:
        await stage.units()
        looks.append(next_look(stage))

    assert looks == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, None]


@on_stage
async def test_a_job_that_runs_is_left_to_the_poll(stage):
    stage.add("a")
    await stage.units()

    assert next_look(stage) is None


@on_stage
async def test_what_was_asked_to_end_is_looked_at_until_it_has(stage):
    job_id = stage.add("a")
    await stage.provider.terminate(["a"], TerminateMode.STOP, 3.0)
    await stage.units()
    assert next_look(stage) == 0.2
    stage.slurm.set(job_id, states=frozenset({"COMPLETED"}))
    stage.provider._look.cancel()
    await stage.units()
    assert next_look(stage) is None
