"""What the simulation has found: one test for each mistake that was mended."""

from __future__ import annotations

import pytest

from dagnats.engine.effects import BindWorker
from dagnats.engine.fold import fold
from dagnats.engine.memory import Record
from dagnats.engine.run import Run
from dagnats.model.codec import decode, encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.run import WorkflowRun
from dagnats.model.times import SECOND

from .world import World, flow, step


def reloaded(world: World, run_id: str = "r1") -> None:
    """The engine forgets the run and reads its snapshot again."""
    before = world.runs[run_id]
    snapshot = decode(encode(before.snapshot), WorkflowRun)
    world.runs[run_id] = Run(snapshot, before.plan)


def override(world: World, step_id: str, action: str) -> None:
    payload = raw({"action": action, "reason": "by hand"})
    world.send(Event(type=EventType.STEP_OVERRIDE, run_id="r1", step_id=step_id, payload=payload))


def test_which_ready_step_begins_first_does_not_depend_on_a_restart() -> None:
    """FLOW-10: in definition order. Else a crash chose another step than was begun already."""

    def begun(restart: bool) -> list[str]:
        world = World(
            flow(
                step("b"),
                step("a"),
                step("late", "b"),
                step("soon", "a"),
                step("z"),
                concurrency={"max_steps": 1},
            )
        )
        world.start("w")
        order: list[str] = []
        while world.tasks:
            order.append(world.complete().step_id)
            if restart:
                reloaded(world)
        assert world.status() == "completed"
        return order

    assert begun(restart=False) == begun(restart=True) == ["b", "a", "late", "soon", "z"]


def test_the_dead_letter_of_a_deadline_names_the_same_step_after_a_restart() -> None:
    """DLQ-1: steps are looked at in the order of the definition, not of the stored keys."""
    buried: list[str] = []
    for restart in (False, True):
        world = World(flow(step("z"), step("a"), timeout=SECOND))
        world.start("w")
        if restart:
            reloaded(world)
        world.sleep(2)
        buried.append(world.buried[0].msg_id)
    assert buried == ["dlq:r1:z:1"] * 2


def test_a_step_retried_while_it_was_held_by_a_pause_is_dispatched() -> None:
    """The pause must release the dispatch in flight, not the one it held first."""
    world = World(flow(step("a")))
    world.flow.paused.add("")
    world.start("w")
    override(world, "a", "retry")
    world.flow.paused.clear()
    for wait in world.flow.resumed():
        payload = raw({"gate": "pause"})
        world.send(
            Event(
                type=EventType.STEP_DISPATCH,
                run_id=wait.run_id,
                step_id=wait.step_id,
                payload=payload,
                attempt_number=wait.dispatch,
            )
        )
    assert world.complete().attempt == 2
    assert world.status() == "completed"


@pytest.mark.parametrize("action", ["complete", "fail", "skip", "cancel"])
def test_a_compensator_that_is_not_under_way_cannot_be_overridden(action: str) -> None:
    """It would take another one's place in the saga, or end a run that is well."""
    world = World(
        flow(
            step("a", compensate="ua"),
            step("b", "a", compensate="ub"),
            step("c", "b"),
            step("ua"),
            step("ub"),
        )
    )
    world.start("w")
    override(world, "ua", action)
    world.complete()
    world.complete()
    world.fail()
    override(world, "ua", action)
    assert [world.complete().step_id for _ in range(2)] == ["ub", "ua"]
    assert world.status() == "compensated"


def test_a_replayed_map_is_not_taken_for_its_first_round() -> None:
    """Its items go on with their numbers: results and message ids of both rounds differ."""
    world = World(flow(step("a"), step("m", "a", type="map", config={"max_items": 5})))
    world.start("w")
    world.complete([1, 2])
    late = world.tasks[1].payload
    world.fail()
    world.tasks.clear()
    world.send(Event(type=EventType.WORKFLOW_REOPENED, run_id="r1", step_id="m"))
    assert [task.payload.attempt for task in world.tasks] == [2, 2]
    world.report(late, EventType.STEP_COMPLETED, "of the first round")
    reloaded(world)
    world.complete("one")
    world.complete("two")
    assert world.state("m").output == b'["one","two"]'
    assert world.status() == "completed"


def test_a_sticky_run_that_leaves_its_worker_lets_go_of_it() -> None:
    """FLOW-72: the binding is removed when the fallback takes over, not kept for 25 hours."""
    world = World(flow(step("a"), step("b", "a"), sticky="soft"))
    world.start("w")
    task = world.take()
    world.report(task, EventType.STEP_COMPLETED, 1, worker_id="w1")
    world.sleep(6)
    bindings = [effect.worker_id for effect in world.other if isinstance(effect, BindWorker)]
    assert bindings == ["w1", ""]
    assert world.tasks[-1].worker == ""


@pytest.mark.parametrize("action", ["skip", "complete"])
def test_a_handler_that_ends_after_its_step_was_overridden_changes_nothing_more(
    action: str,
) -> None:
    """Else the children would wait for one parent less, and begin before the others ended."""
    world = World(flow(step("a", on_failure="h"), step("b"), step("j", "a", "b"), step("h")))
    world.start("w")
    world.fail()
    override(world, "a", action)
    world.tasks.rotate(-[task.payload.step_id for task in world.tasks].index("h"))
    world.complete()
    assert world.state("a").status == {"skip": "skipped", "complete": "completed"}[action]
    assert [task.payload.step_id for task in world.tasks] == ["b"]
    world.complete()
    world.complete()
    assert world.status() == "completed"


def test_what_is_being_undone_cannot_be_overridden() -> None:
    """No forward step moves during a saga, by hand neither."""
    world = World(flow(step("a", compensate="ua"), step("b", "a", compensate="ua"), step("ua")))
    world.start("w")
    world.complete()
    world.fail()
    override(world, "b", "complete")
    assert world.state("b").status == "failed"
    world.complete()
    assert world.status() == "compensated"


def applied_again(world: World) -> None:
    """A crash between the record of the limits and the snapshots: the whole log is applied anew."""
    log, world.log, world.runs = world.log, [], {}
    world.tasks.clear()
    for seq, event in enumerate(log, 1):
        outcome = world.machine.apply(
            world.runs.get(event.run_id), event, seq, world.now, world.now
        )
        if outcome.run is not None:
            world.runs[event.run_id] = outcome.run
        for effect in outcome.effects:
            world._do(effect)


def test_a_run_that_gave_its_slot_back_is_let_in_again_when_it_is_applied_again() -> None:
    """FLOW-1: else it waits for a slot it had, and its task is known to the queue already."""
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    for run_id in ("r1", "r2"):
        world.start("w", run_id=run_id)
    world.complete()
    assert (world.status("r1"), world.status("r2")) == ("completed", "running")
    applied_again(world)
    assert (world.status("r1"), world.status("r2")) == ("completed", "running")
    assert list(world.flow.runs["w"].holders) == ["r2"]
    world.flow.forget_left(1_000)
    assert not world.flow.left


def test_a_reopened_run_needs_a_slot_all_the_same() -> None:
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    for run_id in ("r1", "r2"):
        world.start("w", run_id=run_id)
    world.fail()
    world.send(Event(type=EventType.WORKFLOW_REOPENED, run_id="r1", step_id="a"))
    assert (world.status("r1"), world.status("r2")) == ("pending", "running")


@pytest.mark.parametrize(("mode", "first"), [("cancel", "cancelled"), ("skip", "completed")])
def test_singletons_are_decided_again_as_they_were(mode: str, first: str) -> None:
    """FLOW-51: the one that was displaced must not displace the other when it is applied again."""
    world = World(flow(step("a"), singleton={"mode": mode}))
    for run_id in ("r1", "r2"):
        world.start("w", run_id=run_id)
    if mode == "skip":
        world.complete()
    before = {run_id: world.status(run_id) for run_id in ("r1", "r2")}
    assert before["r1"] == first
    applied_again(world)
    assert {run_id: world.status(run_id) for run_id in ("r1", "r2")} == before


def test_a_rate_limit_whose_key_is_missing_fails_the_step_though_dispatch_is_paused() -> None:
    """WP-21: else the failure comes with the end of the pause, and nothing tells why so late."""
    limit = {"key": "k", "limit": 1, "period": SECOND, "units": 1}
    world = World(flow(step("a", keyed_rate_limit=limit)))
    world.flow.paused.add("")
    world.start("w", {})
    assert world.run().error == 'rate limit key: path "k": key "k" not found'


def test_the_queue_timeout_of_an_item_ends_its_wait_and_not_its_work() -> None:
    """WP-29, WP-57: it was taken for the timeout of the attempt, whatever the item did."""
    config = {"max_items": 5}
    world = World(flow(step("a"), step("m", "a", type="map", config=config, queue_timeout=SECOND)))
    world.start("w")
    world.complete([1, 2])
    task = world.take()
    world.tasks.clear()
    world.sleep(1.1)
    assert world.run().error == "map instance 1 failed: queue timeout exceeded (1s)"
    world.start("w", run_id="r2")
    world.complete([1])
    task = world.take()
    world.sleep(5)
    world.report(task, EventType.STEP_COMPLETED, "done")
    assert world.run("r2").steps["m"].output == b'["done"]'


def test_an_item_that_backs_off_takes_no_second_word_of_its_failed_attempt() -> None:
    """WP-40 holds for items too."""
    retry = {"max_attempts": 2, "initial_delay": SECOND}
    world = World(flow(step("a"), step("m", "a", type="map", config={"max_items": 5}, retry=retry)))
    world.start("w")
    world.complete([1])
    task = world.fail()
    world.report(task, EventType.STEP_COMPLETED, "late")
    world.report(task, EventType.STEP_FAILED, {"error": "again"})
    assert world.state("m").status == "running"
    world.sleep(1.1)
    world.complete("good")
    assert world.state("m").output == b'["good"]'


def test_a_run_that_ended_at_once_is_not_taken_for_one_that_was_refused() -> None:
    """Both come and go with one event; applied again, each is what it was."""
    answer = step("r", type="respond", task="", config={"body_from": "no.such"})
    bounds = {"singleton": {"mode": "skip"}, "concurrency": {"max_runs": 1}}
    world = World(flow(answer, **bounds))
    world.start("w", {})
    assert world.status() == "failed"
    applied_again(world)
    assert world.status() == "failed"
    world = World(flow(step("a"), **bounds))
    world.start("w")
    world.start("w", run_id="r2")
    world.complete()
    applied_again(world)
    assert (world.status(), world.status("r2")) == ("completed", "cancelled")


def test_a_second_start_does_not_hide_from_the_fold_that_the_run_had_to_wait() -> None:
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    for run_id in ("r1", "r2", "r2"):
        world.start("w", run_id=run_id)
    world.complete()
    world.complete()
    log = [Record(seq, world.now, event) for seq, event in enumerate(world.log, 1)]
    mine = [record for record in log if record.event.run_id == "r2"]
    admitted = next(r.seq for r in mine if r.event.type == EventType.WORKFLOW_ADMITTED)
    assert fold(world.defs["w"], mine, admitted - 1).status == "pending"
    assert fold(world.defs["w"], mine).status == "completed"


def test_skipping_a_compensator_or_a_handler_by_hand_lets_the_run_go_on() -> None:
    """The saga stood still for ever."""
    world = World(
        flow(
            step("a", compensate="ua"),
            step("b", "a", compensate="ub"),
            step("c", "b"),
            step("ua"),
            step("ub"),
        )
    )
    world.start("w")
    world.complete()
    world.complete()
    world.fail()
    override(world, "ub", "skip")
    world.tasks.popleft()
    assert world.complete().step_id == "ua"
    assert world.status() == "compensated"
    world = World(flow(step("a", on_failure="h"), step("h")))
    world.start("w")
    world.fail()
    override(world, "h", "skip")
    assert (world.state("a").status, world.status()) == ("recovered", "completed")


def test_that_a_run_had_to_wait_is_in_its_log() -> None:
    """Else a fold of one that was ended by hand meanwhile shows steps it never began."""
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    world.start("w")
    world.start("w", run_id="r2")
    world.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r2"))
    assert world.types("r2") == ["workflow.started", "workflow.waiting", "workflow.cancelled"]
    log = [Record(seq, world.now, event) for seq, event in enumerate(world.log, 1)]
    folded = fold(world.defs["w"], [r for r in log if r.event.run_id == "r2"])
    assert (folded.status, folded.steps["a"].attempts) == ("cancelled", 0)


def test_a_run_that_had_to_wait_has_to_again_when_it_is_applied_again() -> None:
    """It was cancelled before it was admitted: no step of it may begin the second time."""
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    world.start("w")
    world.start("w", run_id="r2")
    world.complete()
    assert world.status("r2") == "running"
    begun = [event.run_id for event in world.log].index("r2")
    world.log.insert(begun + 1, Event(type=EventType.WORKFLOW_CANCELLED, run_id="r2"))
    applied_again(world)
    assert (world.status("r2"), world.state("a", "r2").attempts) == ("cancelled", 0)
