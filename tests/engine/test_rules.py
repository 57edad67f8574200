"""Rules of the engine's specification that no other test names; RULES.md lists them all."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.engine.effects import (
    AddWaiter,
    CancelTimers,
    CloseApproval,
    DropWaiters,
    OpenApproval,
    SetTimer,
)
from dagnats.engine.inputs import run_outputs
from dagnats.engine.waits import fits
from dagnats.model.codec import decode, encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.times import SECOND
from dagnats.model.validate import validate
from dagnats.model.workflow import WorkflowDef

from .world import World, flow, step, text

RETRY = {"max_attempts": 1, "initial_delay": SECOND}


def of(world: World, kind: type[Any]) -> list[Any]:
    return [effect for effect in world.other if isinstance(effect, kind)]


def send(world: World, type_: EventType, step_id: str = "", **more: Any) -> None:
    world.send(Event(type=type_, run_id=more.pop("run_id", "r1"), step_id=step_id, **more))


def cancel(world: World, run_id: str = "r1") -> None:
    send(world, EventType.WORKFLOW_CANCELLED, run_id=run_id)


def problems(*steps: dict[str, Any], **more: Any) -> list[str]:
    return [p.text for p in validate(decode(encode(flow(*steps, **more)), WorkflowDef))]


# --- runs -------------------------------------------------------------------------------------


def test_a_run_starts_from_a_bare_definition_or_from_a_triggers_envelope() -> None:
    """RUN-3: the envelope as a whole is the run's input (IN-1, TRIG-4)."""
    world = World(flow(step("a")))
    send(world, EventType.WORKFLOW_STARTED, payload=raw(world.defs["w"]))
    assert text(world.complete().input) == ""
    envelope = {"trigger": "cron", "source": "t", "workflow_id": "w", "data": {"n": 1}}
    send(world, EventType.WORKFLOW_STARTED, payload=raw(envelope), run_id="r2")
    assert decode(bytes(world.complete().input), dict[str, Any]) == envelope


def test_a_second_start_of_a_run_changes_nothing() -> None:
    """RUN-4, REC-24 (WP-20): whatever its status is."""
    world = World(flow(step("a")))
    world.start("w")
    world.start("w")
    assert len(world.tasks) == 1
    world.complete()
    world.start("w")
    assert (world.status(), len(world.tasks)) == ("completed", 0)


def test_admission_asks_singleton_then_slot_and_a_waiting_run_has_no_deadline() -> None:
    """RUN-7, RUN-8, RUN-9, RUN-42: the deadline begins with the promotion."""
    world = World(
        flow(
            step("a"),
            concurrency={"max_runs": 1},
            singleton={"mode": "skip", "key": "k"},
            timeout=5 * SECOND,
        )
    )
    world.start("w", {"k": 1}, "r1")
    world.start("w", {"k": 1}, "r2")
    world.start("w", {"k": 2}, "r3")
    assert [world.status(r) for r in ("r1", "r2", "r3")] == ["running", "cancelled", "pending"]
    assert (world.run("r1").deadline != "", world.run("r3").deadline) == (True, "")
    world.sleep(3)
    world.complete()
    world.sleep(4)
    assert world.status("r3") == "running"
    world.sleep(2)
    assert world.run("r3").error == "workflow timeout exceeded (5s)"


def test_a_run_keeps_the_definition_it_started_with() -> None:
    """RUN-11, REC-23 (WP-15, WP-33): changing and deleting it disturbs nobody in flight."""
    world = World(flow(step("a"), step("b", "a", retry=RETRY)))
    world.start("w")
    del world.defs["w"]
    world.complete()
    world.fail()
    world.sleep(1.1)
    world.complete()
    assert world.status() == "completed"


def test_outputs_of_a_run_are_those_of_the_steps_nobody_depends_on() -> None:
    """RUN-21, RUN-23: helpers that never ran neither block the run nor show in its outputs."""
    world = World(flow(step("a"), step("b"), step("h"), step("c", "a", on_failure="h")))
    world.start("w")
    for value in (1, 2, 3):
        world.complete(value)
    assert world.status() == "completed"
    assert text(run_outputs(world.runs["r1"])) == '{"b":2,"c":3}'


def test_a_failed_run_stops_everything_it_started_and_says_why() -> None:
    """RUN-22, RUN-30, RUN-31, SUB-6, APPR-6, CAN-5 (WP-34, WP-63): one terminal guard."""
    match = {"left": "k", "op": "==", "right": "input.k"}
    world = World(
        flow(
            step("x"),
            step("y"),
            step("p", type="approval", task="", config={"timeout": SECOND, "subject": "a.b"}),
            step(
                "v",
                type="wait_for_event",
                task="",
                config={"event": "e", "timeout": SECOND, "match": match},
            ),
            step("s", type="sub_workflow", task="", config={"workflow": "kid"}),
            step("z", "v"),
        ),
        flow(step("k"), name="kid"),
    )
    world.start("w", {"k": 1})
    child = world.state("s").child_run_id
    other = world.tasks[1].payload
    world.fail("because")
    assert (world.run().error, world.run().failed_step) == ("because", "x")
    assert world.statuses() == {
        "x": "failed",
        **dict.fromkeys(("y", "p", "v", "s"), "cancelled"),
        "z": "pending",
    }
    assert world.status(child) == "cancelled"
    assert [effect.step_id for effect in of(world, CloseApproval)] == ["p"]
    assert [effect.step_id for effect in of(world, DropWaiters)] == ["v"]
    before = len(world.tasks)
    for late in (EventType.STEP_STARTED, EventType.STEP_COMPLETED, EventType.STEP_FAILED):
        world.report(other, late, {"error": "late"})
    for type_, step_id in (
        (EventType.APPROVAL_GRANTED, "p"),
        (EventType.WAIT_MATCHED, "v"),
        (EventType.WAIT_TIMEOUT, "v"),
        (EventType.CHILD_COMPLETED, "s"),
    ):
        send(world, type_, step_id)
    world.sleep(5)
    assert (world.status(), len(world.tasks)) == ("failed", before)
    assert world.types().count("workflow.failed") == 1
    state = world.state("y")
    assert all((state.queued_at, state.finished_at))


def test_a_run_without_events_meets_its_deadline_and_children_have_their_own() -> None:
    """RUN-40, RUN-41, RUN-42 (WP-27): it is failed, not cancelled, with an event."""
    world = World(
        flow(step("s", type="sub_workflow", task="", config={"workflow": "kid"})),
        flow(step("k"), name="kid", timeout=2 * SECOND),
    )
    world.start("w")
    world.sleep(3)
    assert world.run().error == "child workflow failed: workflow timeout exceeded (2s)"
    assert world.types()[-1] == "workflow.failed"


# --- steps ------------------------------------------------------------------------------------


def test_records_and_repeated_reports_move_no_step_back() -> None:
    """STEP-1, STEP-2, STEP-3, STEP-30: queued after started, started after completed."""
    world = World(flow(step("a"), step("b", "a")))
    world.start("w")
    assert world.state("a").dispatch_nonce
    task = world.take()
    send(world, EventType.STEP_QUEUED, "a", attempt_number=1)
    send(world, EventType.STEP_QUEUED, "no such step")
    assert world.state("a").status == "running"
    world.report(task, EventType.STEP_COMPLETED, 1)
    world.report(task, EventType.STEP_STARTED)
    assert world.state("a").status == "completed"


def test_redeliveries_use_up_no_retry() -> None:
    """STEP-4, FAIL-9, HB-2 (WP-61): the engine's dispatch counts, not the delivery."""
    world = World(flow(step("a", retry=RETRY)))
    world.start("w")
    task = world.tasks.popleft().payload
    for delivery in (1, 2, 3):
        send(world, EventType.STEP_STARTED, "a", attempt_number=delivery)
    assert world.state("a").attempts == 1
    send(world, EventType.STEP_FAILED, "a", payload=raw({"error": "x"}), attempt_number=3)
    world.report(task, EventType.STEP_FAILED, {"error": "again"})
    assert (world.state("a").status, world.state("a").error) == ("running", "x")
    world.sleep(1.1)
    assert world.complete().attempt == 2
    assert world.status() == "completed"


def test_a_failure_before_any_start_is_a_failure() -> None:
    """FAIL-9."""
    world = World(flow(step("a", retry=RETRY)))
    world.start("w")
    world.report(world.tasks.popleft().payload, EventType.STEP_FAILED, {"error": "x"})
    world.sleep(1.1)
    assert world.complete().attempt == 2


def test_the_first_result_counts_and_later_ones_do_not() -> None:
    """STEP-5, STEP-6, W-6 (WP-40): a second result, or a failure after it, changes nothing."""
    world = World(flow(step("a", retry=RETRY), step("b", "a")))
    world.start("w")
    task = world.complete("first")
    world.report(task, EventType.STEP_COMPLETED, "second")
    world.report(task, EventType.STEP_FAILED, {"error": "late"})
    assert world.state("a").output == b'"first"'
    assert len(world.tasks) == 1


def test_a_wake_up_counts_once() -> None:
    """STEP-7, SLEEP-3."""
    world = World(flow(step("s", type="sleep", task="", config={"duration": SECOND}), step("z")))
    world.start("w")
    send(world, EventType.SLEEP_COMPLETED, "s", attempt_number=1)
    finished = world.state("s").finished_at
    world.sleep(2)
    assert (world.state("s").status, world.state("s").finished_at) == ("completed", finished)


def test_a_result_that_comes_after_the_timeout_is_ignored() -> None:
    """STEP-8, STEP-20..STEP-23: the timeout runs from the start, the attempt is over with it."""
    world = World(flow(step("a", timeout=SECOND, retry=RETRY)))
    world.start("w")
    world.sleep(3)
    assert world.state("a").status == "queued"
    task = world.take()
    world.sleep(1.1)
    assert (world.state("a").status, world.state("a").error) == (
        "running",
        "step timeout exceeded (1s)",
    )
    world.report(task, EventType.STEP_COMPLETED, "late")
    assert world.state("a").status == "running"


def test_items_and_iterations_have_timeouts_of_their_own() -> None:
    """STEP-24, LOOP-5, PLAN-7 (WP-50, WP-57, WP-58)."""
    config = {"max_iterations": 5}
    world = World(flow(step("l", type="agent_loop", config=config, timeout=2 * SECOND)))
    world.start("w")
    for _ in range(3):
        task = world.take()
        world.sleep(1.5)
        world.report(task, EventType.STEP_CONTINUE)
    world.take()
    world.sleep(2.1)
    assert world.run().error == "step timeout exceeded (2s)"
    world = World(
        flow(step("a"), step("m", "a", type="map", config={"max_items": 5}, timeout=SECOND))
    )
    world.start("w")
    world.complete([1, 2])
    world.take()
    world.sleep(1.1)
    assert world.run().error == "map instance 0 failed: step timeout exceeded (1s)"
    world = World(flow(step("p", type="planner", config={"max_steps": 5})))
    world.start("w")
    world.complete({"steps": [{"id": "x", "task": "x", "timeout": SECOND, "retry": RETRY}]})
    world.take()
    world.sleep(2.2)
    assert world.complete().attempt == 2
    assert world.status() == "completed"


def test_a_skipped_step_has_no_output_and_ends_the_run_if_it_is_the_last() -> None:
    """IN-11, IN-12, FAIL-30: it needs no compensation either."""
    skip = {"step_id": "a", "field": "stop", "op": "==", "value": True}
    world = World(flow(step("a"), step("b", "a", skip_if=skip, compensate="u"), step("u")))
    world.start("w")
    world.complete({"stop": True})
    assert (world.status(), world.state("b").output) == ("completed", b"")
    assert world.run().completion_order == []


# --- kinds ------------------------------------------------------------------------------------


def test_agents_are_tasks_without_a_queued_event_and_metadata_reaches_the_handler() -> None:
    """TYPE-1, TYPE-2, FLOW-80, FLOW-84 (WP-49)."""
    world = World(
        flow(
            step(
                "a",
                type="agent",
                metadata={"m": "1"},
                worker_group="gpu",
                required_capabilities=["fast", "control-plane"],
                retry=RETRY,
            )
        )
    )
    world.start("w")
    assert "step.queued" not in world.types()
    for _ in range(2):
        task = world.tasks[0]
        assert (task.group, task.payload.metadata) == ("gpu", {"m": "1"})
        # The control plane is for workflows that were granted it (CP-1).
        assert task.payload.required_capabilities == ["fast"]
        assert task.payload.dispatch_nonce == world.state("a").dispatch_nonce
        world.fail()
        world.sleep(1.1)


def test_a_loop_meets_its_longest_duration_and_goes_to_its_handler() -> None:
    """LOOP-2, LOOP-3, LOOP-6, FAIL-37 (WP-26, WP-50)."""
    config = {"max_iterations": 99, "max_duration": 5 * SECOND, "loop_delay": 2 * SECOND}
    world = World(flow(step("l", type="agent_loop", config=config, on_failure="h"), step("h")))
    world.start("w")
    for _ in range(3):
        world.report(world.take(), EventType.STEP_CONTINUE)
        assert not world.tasks
        world.sleep(2)
    world.report(world.take(), EventType.STEP_CONTINUE)
    assert world.state("l").error == "agent loop exceeded max duration (5s)"
    world.complete()
    assert (world.state("l").status, world.status()) == ("recovered", "completed")


def test_an_iteration_is_limited_retried_and_counted_once() -> None:
    """LOOP-5, LOOP-7, LOOP-8, LOOP-9, FLOW-34 (WP-32)."""
    limit = {"limit": 1, "period": 10 * SECOND}
    config = {"max_iterations": 9}
    world = World(flow(step("l", type="agent_loop", config=config, rate_limit=limit, retry=RETRY)))
    world.start("w", "in")
    task = world.take()
    world.report(task, EventType.STEP_CONTINUE, "next")
    world.report(task, EventType.STEP_CONTINUE, "next")
    assert (world.state("l").iterations, len(world.tasks)) == (1, 0)
    world.sleep(10.1)
    failed = world.fail()
    world.sleep(10.1)
    again = world.tasks[0].payload
    assert (again.iteration, text(again.input)) == (failed.iteration, '"next"') == (1, '"next"')
    world.complete("end")
    world.report(task, EventType.STEP_CONTINUE)
    assert (world.status(), len(world.tasks)) == ("completed", 0)


@pytest.mark.parametrize("kind", ["map", "loop", "child", "approval", "expiry", "sleep", "plan"])
def test_every_kind_of_failure_goes_to_handler_and_saga(kind: str) -> None:
    """FAIL-37, MAP-6, SUB-3, APPR-5, APPR-7, DLQ-3 (WP-31, WP-50, WP-52, WP-55, WP-57)."""
    failing = {
        "map": step("f", "a", type="map", config={"max_items": 1}),
        "loop": step("f", "a", type="agent_loop", config={"max_iterations": 1}),
        "child": step("f", "a", type="sub_workflow", task="", config={"workflow": "none"}),
        "approval": step(
            "f", "a", type="approval", task="", config={"timeout": SECOND, "subject": "a.b"}
        ),
        "expiry": step(
            "f", "a", type="approval", task="", config={"timeout": SECOND, "subject": "a.b"}
        ),
        "sleep": step("f", "a", type="sleep", task="", config={"until_input_path": "no"}),
        "plan": step("f", "a", type="planner", config={"max_steps": 1}),
    }[kind]

    def played(**more: Any) -> World:
        helper = "h" if more else "u"
        first = step("a", **({} if more else {"compensate": "u"}))
        world = World(flow(first, failing | more, step(helper)))
        world.start("w", {})
        world.complete([1, 2])
        if kind == "loop":
            world.report(world.take(), EventType.STEP_CONTINUE)
        if kind == "approval":
            send(world, EventType.APPROVAL_REJECTED, "f")
        if kind == "plan":
            world.complete("no plan")
        world.sleep(2)
        return world

    world = played(on_failure="h")
    assert world.complete().step_id == "h"
    assert (world.status(), len(world.buried)) == ("completed", 0)
    world = played()
    assert world.complete().step_id == "u"
    assert (world.status(), len(world.buried)) == ("compensated", 1)


def test_items_never_get_the_control_plane_and_odd_ids_are_refused() -> None:
    """MAP-8, MAP-9, MAP-10, V-2."""
    config = {"max_items": 5}
    world = World(
        flow(
            step("a"),
            step("m", "a", type="map", config=config, required_capabilities=["control-plane"]),
        )
    )
    world.start("w")
    world.complete([1])
    assert world.tasks[0].payload.required_capabilities == []
    assert problems(step("a.map.1"))
    assert problems(
        step("a"),
        step("m", "a", type="map", config=config),
        step("n", "m", type="map", config=config),
    )


def test_a_first_failing_item_fails_the_map_and_frees_the_others() -> None:
    """MAP-5, MAP-6, FLOW-22 (WP-45, WP-57): late items change nothing."""
    world = World(
        flow(
            step("a"),
            step(
                "m",
                "a",
                type="map",
                task="t",
                config={"max_items": 5},
                max_task_concurrency=2,
                on_failure="h",
            ),
            step("h"),
        )
    )
    world.start("w")
    world.complete([1, 2, 3])
    late = world.tasks[1].payload
    world.fail("bad", kind="non_retriable")
    assert not world.flow.tasks
    world.report(late, EventType.STEP_FAILED, {"error": "late"})
    assert [task.task for task in world.tasks if task.task == "h"] == ["h"]


def test_children_pass_admission_and_a_detached_one_lives_on() -> None:
    """SUB-2, SUB-4, SUB-8, FLOW-3: a child takes a slot where its own workflow limits it."""
    kid = flow(
        step("k"),
        name="kid",
        concurrency={"max_runs": 1},
        input_schema={"type": "object"},
    )
    config = {"workflow": "kid"}
    world = World(
        flow(
            step("s", type="sub_workflow", task="", config=config),
            step("t", type="sub_workflow", task="", config=config | {"detach": True}),
        ),
        kid,
    )
    world.start("w", {})
    attached, detached = (world.state(name).child_run_id for name in ("s", "t"))
    assert (world.status(attached), world.status(detached)) == ("running", "pending")
    assert (world.run(attached).parent_run_id, world.run(detached).parent_run_id) == ("r1", "")
    assert world.run(detached).root_run_id == detached
    cancel(world)
    assert (world.status(attached), world.status(detached)) == ("cancelled", "running")
    world.start("w", 5, "r2")
    assert world.run("r2").error.startswith("child workflow failed: input validation")


def test_cancelling_reaches_down_to_the_grandchildren() -> None:
    """SUB-5, SUB-7, CAN-2."""
    world = World(
        flow(step("s", type="sub_workflow", task="", config={"workflow": "kid"})),
        flow(step("s", type="sub_workflow", task="", config={"workflow": "leaf"}), name="kid"),
        flow(step("k"), name="leaf"),
    )
    world.start("w")
    assert [world.status(run) for run in world.runs] == ["running"] * 3
    cancel(world)
    assert [world.status(run) for run in world.runs] == ["cancelled"] * 3


def test_a_run_ends_when_its_generated_steps_have_and_their_conditions_are_theirs() -> None:
    """PLAN-3, PLAN-6 (WP-58)."""
    world = World(flow(step("p", type="planner", config={"max_steps": 5})))
    world.start("w")
    skip = {"step_id": "x", "field": "stop", "op": "==", "value": True}
    plan = [
        {"id": "x", "task": "x"},
        {"id": "y", "task": "y", "depends_on": ["x"], "skip_if": skip},
    ]
    world.complete({"steps": plan})
    assert (world.status(), world.tasks[0].payload.step_id) == ("running", "p.x")
    world.complete({"stop": True})
    assert (world.status(), world.state("p.y").status) == ("completed", "skipped")


def test_a_wait_begins_with_its_step_and_takes_what_fits() -> None:
    """WAIT-6, WAIT-7, WAIT-8 (WP-51): numbers compare as numbers; its timeout touches no other."""
    match = {"left": "n", "op": ">=", "right": "input.n"}
    config = {"event": "e", "timeout": SECOND, "match": match}
    world = World(
        flow(
            step("v", type="wait_for_event", task="", config=config),
            step("x", type="wait_for_event", task="", config=config | {"timeout": 9 * SECOND}),
        )
    )
    world.start("w", {"n": 10})
    asked = of(world, AddWaiter)
    assert {effect.since for effect in asked} == {world.now}
    waiter = asked[0].waiter
    for body, wanted in (({"n": 9}, False), ({"n": 10.0}, True), ({"n": "11"}, True), ([], False)):
        assert fits(waiter, body, world.now) is wanted, body
    world.sleep(2)
    assert world.statuses() == {"v": "completed", "x": "running"}
    assert [effect.step_id for effect in of(world, DropWaiters)] == ["v"]


def test_cancel_rules_watch_from_the_start_for_their_time_and_go_with_the_run() -> None:
    """CAN-7, WAIT-2: missing input never matches; a rule's timeout bounds it."""
    match = {"left": "id", "op": "==", "right": "input.id"}
    rules = [{"event": "stop", "match": match, "timeout": 5 * SECOND}]
    world = World(flow(step("a"), cancel_on=rules))
    world.start("w")
    assert of(world, AddWaiter) == []
    world.start("w", {"id": 1}, "r2")
    (asked,) = of(world, AddWaiter)
    assert fits(asked.waiter, {"id": 1}, world.now)
    assert not fits(asked.waiter, {"id": 1}, world.now + 6 * SECOND)
    send(world, EventType.WORKFLOW_CANCELLED, run_id="r2", payload=raw({"id": 1}))
    assert world.status("r2") == "cancelled"
    assert [effect.run_id for effect in of(world, DropWaiters)] == ["r2"]


def test_a_token_is_used_up_when_its_step_ends_and_new_with_every_attempt() -> None:
    """APPR-3, APPR-6: an expired approval may ask again."""
    config = {"timeout": SECOND, "subject": "a.b"}
    world = World(flow(step("p", type="approval", task="", config=config, retry=RETRY)))
    world.start("w")
    world.sleep(2.1)
    tokens = {effect.token.token for effect in of(world, OpenApproval)}
    assert (len(tokens), len(of(world, CloseApproval))) == (2, 1)
    send(world, EventType.APPROVAL_GRANTED, "p", payload=raw("yes"))
    assert (world.status(), world.state("p").output) == ("completed", b'"yes"')
    assert len(of(world, CloseApproval)) == 2


def test_an_answer_whose_body_is_missing_fails_the_step_at_once() -> None:
    """RESP-3 (WP-21): and so does a wait, a map, a rate limit next to plain tasks."""
    world = World(
        flow(step("x"), step("r", type="respond", task="", config={"body_from": "no.such"}))
    )
    world.start("w", {"a": 1})
    assert "respond body_from" in world.run().error
    limit = {"key": "k", "limit": 1, "period": SECOND, "units": 1}
    world = World(flow(step("a", keyed_rate_limit=limit, on_failure="h"), step("b"), step("h")))
    world.start("w", {})
    assert [task.task for task in world.tasks] == ["h", "b"]


# --- failures ---------------------------------------------------------------------------------


def test_the_nearest_retry_policy_is_in_force() -> None:
    """FAIL-1, FAIL-2: the step's own, else the workflow's, else the legacy count (5 s)."""

    def tries(default: Any = None, **more: Any) -> int:
        world = World(flow(step("a", **more), **({"default_retry": default} if default else {})))
        world.start("w")
        count = 0
        while world.tasks:
            count += 1
            world.fail()
            world.sleep(6)
        return count

    once, twice = {"max_attempts": 1}, {"max_attempts": 2}
    assert tries() == 1
    assert tries(retries=3) == 4
    assert tries(default=twice, retries=3) == 3
    assert tries(default=twice, retry=once, retries=3) == 2


def test_a_step_that_backs_off_gives_its_slot_to_others() -> None:
    """FAIL-8, FLOW-21: the slot is taken again with the retry."""
    world = World(flow(step("a", task="t", max_task_concurrency=1, retry=RETRY)))
    world.start("w")
    world.start("w", run_id="r2")
    world.fail()
    assert [task.payload.run_id for task in world.tasks] == ["r2"]
    world.sleep(1.1)
    assert len(world.tasks) == 1
    world.complete()
    assert [task.payload.run_id for task in world.tasks] == ["r1"]


def test_dead_letters_are_told_apart_and_left_by_failures_only() -> None:
    """DLQ-2, DLQ-3: none for recovered steps and cancelled runs; a replay may leave another."""
    world = World(flow(step("a", on_failure="h"), step("h")))
    world.start("w")
    world.fail()
    world.complete()
    world.start("w", run_id="r2")
    cancel(world, "r2")
    assert world.buried == []
    world = World(flow(step("a")))
    world.start("w")
    world.fail()
    send(world, EventType.WORKFLOW_REOPENED, "a")
    world.fail()
    assert len({letter.msg_id for letter in world.buried}) == 2
    assert text(world.buried[0].payload.input) == "null"


def test_the_same_handler_serves_every_step_that_names_it() -> None:
    """FAIL-21, FAIL-23, FAIL-24, FAIL-25: one failure after the other, then the run completes."""
    world = World(
        flow(step("a", on_failure="h"), step("b", on_failure="h"), step("h"), step("c", "a"))
    )
    world.start("w")
    world.fail("one")
    world.tasks.rotate(-[task.task for task in world.tasks].index("b"))
    world.fail("two")
    assert text(world.complete().input) == '{"failed_step":"a","error":"one"}'
    assert text(world.complete().input) == '{"failed_step":"b","error":"two"}'
    assert (world.status(), world.state("b").error) == ("completed", "two")


# --- cancelling and limits --------------------------------------------------------------------


def test_a_waiting_run_can_be_cancelled_and_an_unknown_one_does_no_harm() -> None:
    """CAN-3, CAN-6, CAN-8, FLOW-54 (WP-53)."""
    world = World(
        flow(step("a"), concurrency={"max_runs": 1}, singleton={"mode": "cancel", "key": "k"})
    )
    world.start("w", {"k": 1}, "r1")
    world.start("w", {"k": 2}, "r2")
    world.start("w", {"k": 2}, "r3")
    assert [world.status(r) for r in ("r1", "r2", "r3")] == ["running", "cancelled", "pending"]
    cancel(world, "r3")
    cancel(world, "r3")
    cancel(world, "unknown")
    assert (world.status("r3"), "unknown" in world.runs) == ("cancelled", False)
    world.complete()
    assert not world.flow.runs
    assert not world.flow.locks


def test_priority_reorders_those_who_wait() -> None:
    """FLOW-40, FLOW-41, FLOW-42, M-22 (WP-56): no input, no rule and any value are fine."""
    priority = {"key": "p", "rules": {"high": 600, "low": -600}, "default_offset": 1}
    world = World(flow(step("a"), concurrency={"max_runs": 1}, priority=priority))
    given = (("r0", None), ("r1", {"p": "low"}), ("r2", {"p": "odd @:"}), ("r3", {"p": "high"}))
    for run_id, value in given:
        world.now += SECOND
        world.start("w", value, run_id)
    order = []
    while world.tasks:
        order.append(world.complete().run_id)
    assert order == ["r0", "r3", "r2", "r1"]


def test_a_step_count_bounds_what_is_under_way() -> None:
    """FLOW-10: sleeping and waiting steps count."""
    world = World(
        flow(
            step("s", type="sleep", task="", config={"duration": SECOND}),
            step("a"),
            step("b"),
            concurrency={"max_steps": 2},
        )
    )
    world.start("w")
    assert [task.task for task in world.tasks] == ["a"]
    world.sleep(1.1)
    assert [task.task for task in world.tasks] == ["a", "b"]


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_sticky_run_stays_with_its_worker(mode: str) -> None:
    """FLOW-70, FLOW-71, FLOW-73 (WP-46): retries too; a fallback replaces, it does not repeat."""
    world = World(flow(step("a"), step("b", "a", retry=RETRY), sticky=mode, timeout=3600 * SECOND))
    world.start("w")
    world.report(world.take(), EventType.STEP_COMPLETED, 1, worker_id="w1")
    assert world.tasks[0].worker == "w1"
    world.fail()
    world.sleep(1.1)
    assert world.tasks[0].worker == "w1"
    old = world.tasks[0].payload
    world.sleep(6)
    assert len(world.tasks) == (2 if mode == "soft" else 1)
    if mode == "soft":
        assert world.tasks[1].worker == ""
        world.report(old, EventType.STEP_STARTED)
        world.report(old, EventType.STEP_COMPLETED, "from the old worker")
        assert world.state("b").status == "queued"


def test_timers_are_named_once_a_step_and_cancelled_with_it() -> None:
    """T-23 (WP-9, WP-25): setting one again replaces it, a step that ends takes its own back."""
    world = World(flow(step("a", timeout=SECOND, queue_timeout=SECOND)))
    world.start("w")
    world.complete()
    assert world.timers == []
    turns = of(world, SetTimer) + of(world, CancelTimers)
    assert turns == []  # The world in memory has done both already.


def test_a_replay_after_a_failed_compensation_goes_on_undoing() -> None:
    """DLQ-7, FAIL-34: what is half undone must not go forward again."""
    world = World(
        flow(
            step("a", compensate="ua"),
            step("b", "a", compensate="ub"),
            step("c", "b"),
            step("ua"),
            step("ub"),
            concurrency={"max_runs": 1},
        )
    )
    world.start("w")
    world.complete(1)
    world.complete(2)
    world.fail("c is broken")
    world.complete()
    world.fail("ua is broken")
    assert world.status() == "compensate_failed"
    world.start("w", run_id="r2")
    send(world, EventType.WORKFLOW_REOPENED, "ua")
    assert world.status() == "pending"
    cancel(world, "r2")
    world.tasks.rotate(-[task.payload.run_id for task in world.tasks].index("r1"))
    task = world.complete()
    assert (task.step_id, task.attempt) == ("ua", 2)
    assert b'"trigger_error":"c is broken"' in bytes(task.input)
    assert (world.status(), world.run().error) == ("compensated", "c is broken")
