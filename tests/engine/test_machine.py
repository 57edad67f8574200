"""The machine, step by step, on a world in memory. Rule ids are those of the engine's spec."""

from __future__ import annotations

import pytest

from dagnats.engine.effects import AddWaiter, OpenApproval, RecallTasks, Respond
from dagnats.model.codec import raw
from dagnats.model.event import Event, EventType
from dagnats.model.times import SECOND

from .world import World, flow, step, text


def test_a_linear_run_hands_outputs_on_and_completes() -> None:
    """IN-1, IN-2, RUN-20, and the golden sequence of a normal step."""
    world = World(flow(step("a"), step("b", "a")))
    world.start("w", {"n": 1})
    assert text(world.complete({"x": 2}).input) == '{"n":1}'
    assert text(world.complete("done").input) == '{"x":2}'
    assert world.status() == "completed"
    assert world.run().completed_at
    assert world.types() == [
        "workflow.started",
        "step.queued",
        "step.started",
        "step.completed",
        "step.queued",
        "step.started",
        "step.completed",
        "workflow.completed",
    ]


def test_a_join_gets_an_object_of_its_parents_outputs() -> None:
    """IN-3: missing outputs are null."""
    world = World(flow(step("a"), step("b"), step("c", "a", "b")))
    world.start("w")
    world.complete(1)
    world.complete()
    assert text(world.complete().input) == '{"a":1,"b":null}'
    assert world.status() == "completed"


def test_skips_run_to_a_fixed_point() -> None:
    """IN-10, IN-13 (WP-48)."""
    skip = {"step_id": "a", "field": "stop", "op": "==", "value": True}
    chain = {"step_id": "b", "field": "x", "op": "==", "value": 1}
    world = World(
        flow(
            step("a"),
            step("b", "a", skip_if=skip),
            step("c", "b", skip_if=chain),
            step("d", "a", skip_if=skip),
            step("e", "d"),
        )
    )
    world.start("w")
    world.complete({"stop": True})
    assert world.statuses() | {"c": "", "e": ""} == {
        "a": "completed",
        "b": "skipped",
        "c": "",
        "d": "skipped",
        "e": "",
    }
    world.complete()
    world.complete()
    assert world.status() == "completed"


def test_retries_are_counted_as_retries_and_end_in_a_dead_letter() -> None:
    """FAIL-3, FAIL-4, DLQ-1: max_attempts 2 means three executions."""
    retry = {"max_attempts": 2, "strategy": "exponential", "initial_delay": SECOND, "multiplier": 2}
    world = World(flow(step("a", retry=retry)))
    world.start("w")
    assert world.fail().attempt == 0
    assert (world.status(), world.state("a").status, world.state("a").error) == (
        "running",
        "running",
        "boom",
    )
    assert not world.tasks
    world.sleep(0.99)
    assert not world.tasks
    world.sleep(0.02)
    assert world.fail().attempt == 2
    world.sleep(1.9)
    assert not world.tasks
    world.sleep(0.2)
    assert world.fail("last").attempt == 3
    assert (world.status(), world.run().error, world.run().failed_step) == ("failed", "last", "a")
    assert world.state("a").attempts == 3
    assert [dead.error for dead in world.buried] == ["last"]
    assert world.types()[-1] == "workflow.failed"


def test_non_retriable_failures_and_worker_delays() -> None:
    """FAIL-5, FAIL-6."""
    world = World(flow(step("a", retry={"max_attempts": 5})))
    world.start("w")
    world.fail(kind="retry_after", retry_after_ms=5000)
    world.sleep(4.9)
    assert not world.tasks
    world.sleep(0.2)
    world.fail(kind="non_retriable")
    assert world.status() == "failed"


def test_results_of_another_attempt_are_ignored() -> None:
    """WP-40: only the dispatch in flight counts."""
    world = World(
        flow(step("a", retry={"max_attempts": 1, "initial_delay": SECOND}), step("b", "a"))
    )
    world.start("w")
    late = world.fail()
    world.report(late, EventType.STEP_COMPLETED, "too late")
    assert world.state("a").status == "running"
    world.sleep(1.1)
    world.report(late, EventType.STEP_COMPLETED, "too late")
    assert world.state("a").status == "queued"
    world.complete("good")
    assert text(world.tasks[0].payload.input) == '"good"'
    world.report(late, EventType.STEP_FAILED, {"error": "late"})
    assert world.state("a").status == "completed"


def test_step_timeout_is_a_failure_of_the_attempt() -> None:
    """STEP-20, STEP-21."""
    world = World(flow(step("a", timeout=2 * SECOND)))
    world.start("w")
    world.sleep(10)
    assert world.status() == "running"
    world.take()
    world.sleep(2.1)
    assert world.run().error == "step timeout exceeded (2s)"
    assert world.status() == "failed"
    assert any(isinstance(effect, RecallTasks) for effect in world.other) is False


def test_queue_timeout_ends_a_wait_for_workers() -> None:
    """WP-29."""
    world = World(flow(step("a", queue_timeout=SECOND)))
    world.start("w")
    world.sleep(1.1)
    assert world.run().error == "queue timeout exceeded (1s)"


def test_workflow_timeout_is_a_real_timer() -> None:
    """WP-27: it ends the run as failed although nothing happens."""
    world = World(flow(step("a"), timeout=2 * SECOND))
    world.start("w")
    world.take()
    world.sleep(2.1)
    assert (world.status(), world.run().error) == ("failed", "workflow timeout exceeded (2s)")
    assert world.state("a").status == "cancelled"
    assert any(isinstance(effect, RecallTasks) for effect in world.other)
    assert len(world.buried) == 1


def test_cancel_stops_everything_once() -> None:
    """CAN-2, one terminal guard."""
    world = World(flow(step("a"), step("b", "a")))
    world.start("w")
    task = world.take()
    world.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r1"))
    world.report(task, EventType.STEP_COMPLETED, 1)
    world.report(task, EventType.STEP_STARTED)
    assert world.status() == "cancelled"
    assert world.statuses() == {"a": "cancelled", "b": "cancelled"}
    assert world.types().count("workflow.cancelled") == 1
    assert not world.tasks


def test_on_failure_recovers_and_skips_what_only_followed() -> None:
    """FAIL-20..25, WP-44; the handler is not started by itself though aux_steps was not sent."""
    world = World(
        flow(
            step("a", on_failure="h"),
            step("b", "a"),
            step("c", "b"),
            step("x"),
            step("j", "a", "x"),
            step("h", retry={"max_attempts": 1}),
        )
    )
    world.start("w")
    assert {task.task for task in world.tasks} == {"a", "x"}
    world.fail("bad")
    world.complete("ok")
    handler = world.fail("try again")
    assert text(handler.input) == '{"failed_step":"a","error":"bad"}'
    world.sleep(1)
    again = world.complete()
    assert text(again.input) == text(handler.input)
    assert world.statuses() | {"j": ""} == {
        "a": "recovered",
        "b": "skipped",
        "c": "skipped",
        "x": "completed",
        "j": "",
        "h": "completed",
    }
    assert text(world.complete().input) == '{"a":null,"x":"ok"}'
    assert world.status() == "completed"
    assert not world.buried


def test_compensation_undoes_in_reverse_order_of_completion() -> None:
    """FAIL-30..36, WP-42."""
    world = World(
        flow(
            step("a", compensate="ua"),
            step("b", "a", compensate="ub"),
            step("c", "b", compensate="uc"),
            step("d", "c"),
            step("ua"),
            step("ub"),
            step("uc"),
        )
    )
    world.start("w")
    for value in (1, 2, 3):
        world.complete(value)
    world.fail("late failure")
    order = [world.complete() for _ in range(3)]
    assert [task.step_id for task in order] == ["uc", "ub", "ua"]
    assert text(order[0].input) == (
        '{"original_step":"c","original_output":3,"trigger_step":"d","trigger_error":"late failure"}'  # noqa: E501
    )
    assert world.status() == "compensated"
    assert world.types()[-2:] == ["compensate.completed", "workflow.failed"]


def test_a_recall_names_dispatches_so_that_a_repeat_spares_the_compensator() -> None:
    """After a crash the failure is applied again, while the compensator may be at work already."""
    world = World(
        flow(
            step("a", compensate="ua"),
            step("b", "a"),
            step("m", "a", type="map", config={"max_items": 3}),
            step("ua"),
        )
    )
    world.start("w")
    world.complete([1, 2])
    taken = [task.payload for task in world.tasks]
    world.tasks.rotate(-[task.payload.step_id for task in world.tasks].index("b"))
    world.fail()
    (recall,) = (effect for effect in world.other if isinstance(effect, RecallTasks))
    stopped = [task.step_id for task in taken if task.dispatch_nonce.startswith(recall.nonces)]
    assert stopped == ["m.map.0", "m.map.1"]
    (compensator,) = (task.payload for task in world.tasks if task.payload.step_id == "ua")
    assert not compensator.dispatch_nonce.startswith(recall.nonces)


def test_a_failing_compensator_ends_the_run() -> None:
    """FAIL-34."""
    world = World(flow(step("a", compensate="ua"), step("b", "a"), step("ua")))
    world.start("w")
    world.complete()
    world.fail()
    world.fail("cannot undo")
    assert world.status() == "compensate_failed"
    assert world.run().error == "compensation failed: cannot undo"


def test_a_loop_feeds_its_payload_back_and_meets_its_bound() -> None:
    """LOOP-1, LOOP-4 (WP-50), LOOP-6."""
    world = World(flow(step("l", type="agent_loop", config={"max_iterations": 3})))
    world.start("w", "first")
    task = world.take()
    assert (text(task.input), task.iteration) == ('"first"', 0)
    world.report(task, EventType.STEP_CONTINUE, {"i": 1})
    task = world.take()
    assert (text(task.input), task.iteration) == ('{"i":1}', 1)
    world.report(task, EventType.STEP_CONTINUE)
    task = world.take()
    assert (text(task.input), task.iteration) == ('"first"', 2)
    world.report(task, EventType.STEP_CONTINUE)
    assert world.run().error == "agent loop exceeded max iterations (3)"
    assert len(world.buried) == 1


def test_a_loop_delay_is_a_timer() -> None:
    """WP-26."""
    config = {"max_iterations": 3, "loop_delay": 5 * SECOND}
    world = World(flow(step("l", type="agent_loop", config=config)))
    world.start("w")
    world.report(world.take(), EventType.STEP_CONTINUE)
    assert not world.tasks
    world.sleep(5)
    world.complete("end")
    assert world.status() == "completed"


@pytest.mark.parametrize("width", [0, 2])
def test_a_map_keeps_the_order_of_its_items(width: int) -> None:
    """MAP-1..4, with and without a bound on items at a time."""
    config = {"max_items": 10, "max_concurrency": width}
    world = World(flow(step("a"), step("m", "a", type="map", config=config), step("z", "m")))
    world.start("w")
    world.complete([1, 2, 3, 4])
    assert len(world.tasks) == (width or 4)
    while world.tasks and world.tasks[0].task == "m":
        if len(world.tasks) > 1:
            world.tasks.rotate(-1)
        task = world.take()
        world.report(task, EventType.STEP_COMPLETED, int(text(task.input)) * 10)
    assert text(world.complete().input) == "[10,20,30,40]"
    assert world.status() == "completed"


def test_map_items_retry_and_fail_the_map() -> None:
    """WP-57."""
    world = World(
        flow(
            step("a"),
            step(
                "m",
                "a",
                type="map",
                config={"max_items": 5},
                retry={"max_attempts": 1, "initial_delay": SECOND},
            ),
        )
    )
    world.start("w")
    world.complete([1, 2])
    world.fail("first")
    world.complete()
    world.sleep(1.1)
    assert world.tasks[0].payload.attempt == 2
    world.fail("second")
    assert world.run().error == "map instance 0 failed: second"


@pytest.mark.parametrize(
    ("output", "status"),
    [([], "completed"), ({"no": "array"}, "failed"), (..., "failed"), ([1] * 6, "failed")],
)
def test_odd_map_inputs_never_hang(output: object, status: str) -> None:
    """MAP-7, WP-21, WP-22."""
    world = World(flow(step("a"), step("m", "a", type="map", config={"max_items": 5})))
    world.start("w")
    world.complete(output)
    assert world.status() == status
    if status == "completed":
        assert world.state("m").output == b"[]"


def test_a_child_completes_its_parent_step() -> None:
    """SUB-1, SUB-3."""
    world = World(
        flow(step("s", type="sub_workflow", task="", config={"workflow": "kid"}), step("z", "s")),
        flow(step("k"), name="kid"),
    )
    world.start("w", {"n": 1})
    child = world.state("s").child_run_id
    assert world.run(child).parent_run_id == "r1"
    assert text(world.complete("result").input) == '{"n":1}'
    assert text(world.complete().input) == '"result"'
    assert world.status() == "completed"


def test_a_failed_parent_cancels_its_child_and_children_respect_the_depth() -> None:
    """SUB-5, SUB-6, WP-31, WP-34."""
    world = World(
        flow(step("s", type="sub_workflow", task="", config={"workflow": "w"}), step("x")),
    )
    world.start("w")
    assert len(world.runs) == 3
    assert {world.status(run_id) for run_id in world.runs} == {"failed"}
    assert "max nesting depth 3 exceeded" in world.run().error


def test_sleep_wakes_by_its_timer() -> None:
    """SLEEP-1..3."""
    world = World(
        flow(step("s", type="sleep", task="", config={"duration": 5 * SECOND}), step("z", "s"))
    )
    world.start("w")
    assert world.state("s").wake_at
    world.sleep(4.9)
    assert not world.tasks
    world.sleep(0.2)
    assert text(world.complete().input) == ""
    assert world.status() == "completed"


def test_a_wait_takes_the_event_or_times_out() -> None:
    """WAIT-1..5."""
    config = {
        "event": "paid",
        "timeout": 5 * SECOND,
        "match": {"left": "id", "op": "==", "right": "input.order"},
    }
    definition = flow(step("v", type="wait_for_event", task="", config=config))
    world = World(definition)
    world.start("w", {"order": 7})
    waiter = next(effect for effect in world.other if isinstance(effect, AddWaiter))
    assert text(waiter.waiter.match.right) == "7"
    world.send(Event(type=EventType.WAIT_MATCHED, run_id="r1", step_id="v", payload=raw({"id": 7})))
    assert (world.status(), world.state("v").output) == ("completed", b'{"id":7}')
    world = World(definition)
    world.start("w", {"order": 7})
    world.sleep(6)
    assert world.state("v").output == b'{"timeout":true}'
    world = World(definition)
    world.start("w", {})
    assert world.status() == "failed"


def test_an_approval_is_granted_rejected_or_expires() -> None:
    """APPR-1, APPR-4, APPR-5 (WP-52)."""
    config = {"timeout": 10 * SECOND, "subject": "ask.me"}
    definition = flow(step("p", type="approval", task="", config=config))
    for type_, wait, status in (
        (EventType.APPROVAL_GRANTED, 0, "completed"),
        (EventType.APPROVAL_REJECTED, 0, "failed"),
        (None, 11, "failed"),
    ):
        world = World(definition)
        world.start("w")
        asked = next(effect for effect in world.other if isinstance(effect, OpenApproval))
        assert len(asked.token.token) == 64
        if type_ is not None:
            world.send(Event(type=type_, run_id="r1", step_id="p"))
        world.sleep(wait)
        assert world.status() == status


def test_a_plan_becomes_part_of_the_run_and_its_followers_wait_for_it() -> None:
    """PLAN-1..5 (WP-58)."""
    world = World(flow(step("p", type="planner", config={"max_steps": 5}), step("z", "p")))
    world.start("w")
    plan = {"steps": [{"id": "x", "task": "x"}, {"id": "y", "task": "y", "depends_on": ["x"]}]}
    world.complete(plan)
    assert [task.payload.step_id for task in world.tasks] == ["p.x"]
    world.complete("one")
    assert text(world.complete("two").input) == '"one"'
    assert text(world.complete().input) == '"two"'
    assert world.status() == "completed"


@pytest.mark.parametrize(
    "plan",
    [
        "nonsense",
        {"steps": [{"id": "x", "task": "t"}] * 2},
        {"steps": [{"id": "x", "task": ""}]},
        {"steps": [{"id": "x", "task": "t", "depends_on": ["y"]}]},
        {"steps": [{"id": "x", "task": "t", "depends_on": ["x"]}]},
    ],
)
def test_a_bad_plan_fails_the_planner(plan: object) -> None:
    """PLAN-2."""
    world = World(flow(step("p", type="planner", config={"max_steps": 5})))
    world.start("w")
    world.complete(plan)
    assert world.status() == "failed"


def test_respond_answers_at_once() -> None:
    """RESP-1, RESP-2."""
    world = World(
        flow(step("r", type="respond", task="", config={"body_from": "a", "status": 201}))
    )
    world.start("w", {"a": [1]})
    answer = next(effect for effect in world.other if isinstance(effect, Respond))
    assert b'"status":201' in bytes(answer.response)
    assert world.state("r").output == b"[1]"
    assert world.status() == "completed"


def test_run_slots_are_hard_bounds_and_go_to_the_longest_waiting() -> None:
    """FLOW-1..3."""
    world = World(flow(step("a"), concurrency={"max_runs": 1}))
    for run_id in ("r1", "r2", "r3"):
        world.now += 1
        world.start("w", run_id=run_id)
    assert [world.status(run_id) for run_id in ("r1", "r2", "r3")] == [
        "running",
        "pending",
        "pending",
    ]
    world.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r2"))
    world.complete()
    assert [world.status(run_id) for run_id in ("r1", "r2", "r3")] == [
        "completed",
        "cancelled",
        "running",
    ]


def test_task_slots_are_taken_at_dispatch_and_given_back_exactly() -> None:
    """FLOW-20..22 (WP-45)."""
    world = World(flow(step("a", task="t", max_task_concurrency=2)))
    for index in range(5):
        world.start("w", run_id=f"r{index}")
    assert len(world.tasks) == 2
    world.complete()
    assert len(world.tasks) == 2
    world.fail()
    world.send(Event(type=EventType.WORKFLOW_CANCELLED, run_id="r2"))
    while world.tasks:
        world.complete()
    assert [world.status(f"r{index}") for index in range(5)] == [
        "completed",
        "failed",
        "cancelled",
        "completed",
        "completed",
    ]
    assert not world.flow.tasks


def test_rate_limits_hold_over_any_window() -> None:
    """FLOW-30..34: at most limit + w * rate starts."""
    world = World(flow(step("a", rate_limit={"limit": 2, "period": 10 * SECOND})))
    starts: list[int] = []
    for index in range(6):
        world.start("w", run_id=f"r{index}")
    for _ in range(60):
        while world.tasks:
            starts.append(world.now)
            world.complete()
        world.sleep(0.5)
    assert len(starts) == 6
    seconds = [(moment - starts[0]) / SECOND for moment in starts]
    assert seconds == pytest.approx([0, 0, 5, 10, 15, 20], abs=0.5)


def test_singletons_skip_or_cancel() -> None:
    """FLOW-50..52, RUN-10."""
    skip = World(flow(step("a"), singleton={"mode": "skip"}))
    skip.start("w")
    skip.start("w", run_id="r2")
    assert skip.status("r2") == "cancelled"
    assert skip.statuses("r2") == {"<admission-skip>": "failed"}
    cancel = World(flow(step("a"), singleton={"mode": "cancel", "key": "k"}))
    cancel.start("w", {"k": "odd key @:"})
    cancel.start("w", {"k": "odd key @:"}, run_id="r2")
    cancel.start("w", {"k": "other"}, run_id="r3")
    assert [cancel.status(r) for r in ("r1", "r2", "r3")] == ["cancelled", "running", "running"]


def test_a_replayed_dead_letter_goes_on_where_the_run_failed() -> None:
    """DLQ-7 (WP-55)."""
    world = World(flow(step("a"), step("b", "a"), step("c", "b")))
    world.start("w")
    world.complete(1)
    world.fail()
    assert world.status() == "failed"
    world.send(Event(type=EventType.WORKFLOW_REOPENED, run_id="r1", step_id="b"))
    assert world.status() == "running"
    task = world.complete(2)
    assert (task.step_id, task.attempt, text(task.input)) == ("b", 2, "1")
    world.complete(3)
    assert world.status() == "completed"


@pytest.mark.parametrize(
    ("action", "status"), [("complete", "completed"), ("skip", "completed"), ("fail", "failed")]
)
def test_operators_override_a_step(action: str, status: str) -> None:
    world = World(flow(step("a")))
    world.start("w")
    payload = raw({"action": action, "reason": "by hand", "output": 5})
    world.send(Event(type=EventType.STEP_OVERRIDE, run_id="r1", step_id="a", payload=payload))
    assert world.status() == status


@pytest.mark.parametrize("payload", [b"null", b"[]", b'{"name":""}', b'{"workflow_def":3}', b"{}"])
def test_unusable_starts_leave_a_failed_run_that_says_why(payload: bytes) -> None:
    """RUN-5 with an error and an event."""
    from msgspec import Raw

    world = World()
    world.send(Event(type=EventType.WORKFLOW_STARTED, run_id="r1", payload=Raw(payload)))
    assert world.status() == "failed"
    assert world.run().error
    assert world.types()[-1] == "workflow.failed"


def test_the_input_schema_guards_the_start() -> None:
    """RUN-6, IN-21 (WP-62): for triggers it applies to the payload."""
    schema = {"type": "object", "required": ["n"]}
    world = World(flow(step("a"), input_schema=schema))
    world.start("w", {"m": 1})
    assert world.status() == "failed"
    assert "input validation" in world.run().error
    envelope = {"trigger": "cron", "source": "t", "workflow_id": "w", "data": {"n": 1}}
    world.start("w", envelope, run_id="r2")
    assert world.status("r2") == "running"
