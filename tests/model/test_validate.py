from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dagnats.model.codec import raw
from dagnats.model.times import DAY, HOUR, MINUTE, SECOND
from dagnats.model.validate import derive_aux, normalise, validate
from dagnats.model.workflow import (
    CancelOn,
    Concurrency,
    KeyedRateLimit,
    Match,
    PriorityConfig,
    RateLimit,
    RetryPolicy,
    Singleton,
    SkipCondition,
    StepDef,
    WorkflowDef,
)


def step(step_id: str, *depends_on: str, **fields: Any) -> StepDef:
    fields.setdefault("task", "t")
    return StepDef(id=step_id, depends_on=list(depends_on), **fields)


def workflow(*steps: StepDef, **fields: Any) -> WorkflowDef:
    fields.setdefault("name", "w")
    return WorkflowDef(steps=list(steps), **fields)


def typed(kind: str, config: Any = None, *depends_on: str) -> StepDef:
    task = "t" if kind in ("agent_loop", "map", "planner") else ""
    made = step("a", *depends_on, type=kind, task=task)
    return made if config is None else msgspec.structs.replace(made, config=raw(config))


def texts(definition: WorkflowDef) -> list[str]:
    return [problem.text for problem in validate(definition)]


SLEEP_HEAD = 'step "a": invalid sleep config: step "a": sleep config must set exactly one of '
WAIT: dict[str, Any] = {
    "event": "e",
    "match": {"left": "a", "op": "eq", "right": "input.x"},
    "timeout": 1,
}


def wait(**changes: Any) -> StepDef:
    match = WAIT["match"] | changes.pop("match", {})
    return typed("wait_for_event", WAIT | {"match": match} | changes)


CASES: list[tuple[WorkflowDef, str]] = [
    (workflow(), 'workflow "w" has no steps'),
    (workflow(step("a"), name=""), "workflow name must not be empty"),
    (workflow(step("a"), name="x" * 257), "workflow name has 257 characters (max 256)"),
    (workflow(step("a"), step("a")), 'duplicate step ID "a"'),
    (workflow(step("")), "step ID must not be empty"),
    (workflow(step("a.map.0")), 'step ID "a.map.0" must not contain ".map."'),
    (workflow(step("a", retries=-1)), 'step "a" has negative Retries (-1)'),
    (workflow(step("x", "y")), 'step "x" depends on non-existent step "y"'),
    (workflow(step("a", task="")), 'step "a" of type normal has no task'),
    (workflow(step("a", task="a b")), 'step "a": task "a b" is not a clean subject token'),
    (workflow(step("a", task="a.>")), 'step "a": task "a.>" is not a clean subject token'),
    (workflow(step("a", task="a..b")), 'step "a": task "a..b" is not a clean subject token'),
    (
        workflow(step("a", worker_group="*")),
        'step "a": worker_group "*" is not a clean subject token',
    ),
    (
        workflow(typed("agent_loop")),
        'step "a" is AgentLoop but Config is invalid: config is missing',
    ),
    (
        workflow(typed("agent_loop", {})),
        'step "a" is AgentLoop but MaxIterations is 0 (must be > 0)',
    ),
    (
        workflow(typed("agent_loop", {"max_iterations": 1, "loop_delay": -1})),
        'step "a": AgentLoop.LoopDelay must not be negative, got -1ns',
    ),
    (
        workflow(typed("map", {"max_items": 1})),
        'step "a" is Map but has 0 dependencies (must have exactly one)',
    ),
    (
        workflow(step("p"), typed("map", {"max_items": 0}, "p")),
        'step "a" is Map but MaxItems is 0 (must be > 0)',
    ),
    (
        workflow(step("p"), typed("map", {"max_items": 10_001}, "p")),
        'step "a" is Map but MaxItems is 10001 (must be <= 10000)',
    ),
    (
        workflow(step("p"), typed("map", {"max_items": 1, "max_concurrency": -1}, "p")),
        'step "a" is Map but max_concurrency is -1 (must be 0..10000)',
    ),
    (
        workflow(step("p"), step("a", "p", skip_if=SkipCondition(step_id="p", field="f", op="~"))),
        'step "a" SkipIf has invalid operator "~"',
    ),
    (
        workflow(step("p"), step("a", "p", skip_if=SkipCondition(field="f", op="=="))),
        'step "a" SkipIf has empty StepID',
    ),
    (
        workflow(step("p"), step("a", skip_if=SkipCondition(step_id="p", field="f", op="=="))),
        'step "a" SkipIf references "p" which is not in DependsOn',
    ),
    (
        workflow(step("p"), step("a", "p", skip_if=SkipCondition(step_id="p", op="=="))),
        'step "a" SkipIf has empty Field',
    ),
    (
        workflow(typed("sub_workflow", {})),
        'step "a": sub-workflow config must have non-empty Workflow',
    ),
    (workflow(typed("sub_workflow")), 'step "a": invalid sub-workflow config: config is missing'),
    (workflow(typed("sleep", {})), f"{SLEEP_HEAD}duration, cron, until_input_path; got 0"),
    (
        workflow(typed("sleep", {"duration": 1, "cron": "* * * * *"})),
        f"{SLEEP_HEAD}duration, cron, until_input_path; got 2",
    ),
    (
        workflow(typed("sleep", {"cron": "60 * * * *"})),
        'step "a": invalid sleep cron: [60 * * * *] is not acceptable, out of range',
    ),
    (
        workflow(typed("sleep", {"duration": -SECOND})),
        'step "a": sleep duration must be positive, got -1s',
    ),
    (
        workflow(typed("sleep", {"duration": 365 * DAY + SECOND})),
        'step "a": sleep duration 8760h0m1s exceeds max 8760h0m0s',
    ),
    (workflow(typed("approval", {"timeout": 1})), 'step "a": Approval.Subject must not be empty'),
    (
        workflow(typed("approval", {"timeout": 1, "subject": "a.*"})),
        'step "a": Approval.Subject "a.*" is not a clean subject',
    ),
    (
        workflow(typed("approval", {"timeout": 1, "subject": "history.x"})),
        'step "a": Approval.Subject: subject "history.x" matches what the engine itself publishes',
    ),
    (workflow(typed("approval", {"subject": "s"})), 'step "a": Approval.Timeout must be positive'),
    (
        workflow(typed("approval", {"subject": "s", "timeout": 169 * HOUR})),
        'step "a": Approval.Timeout 169h0m0s exceeds max 168h0m0s',
    ),
    (workflow(typed("planner", {})), 'step "a": PlannerConfig.MaxSteps is 0 (must be 1..100)'),
    (
        workflow(typed("planner", {"max_steps": 1, "max_depth": 11})),
        'step "a": PlannerConfig.MaxDepth is 11 (must be 0..10)',
    ),
    (
        workflow(step("a", rate_limit=RateLimit(), keyed_rate_limit=KeyedRateLimit())),
        'step "a": cannot set both RateLimit and KeyedRateLimit',
    ),
    (
        workflow(step("a", rate_limit=RateLimit(period=1))),
        'step "a": rate limit must be positive',
    ),
    (
        workflow(step("a", rate_limit=RateLimit(limit=1))),
        'step "a": rate limit period must be positive',
    ),
    (
        workflow(step("a", keyed_rate_limit=KeyedRateLimit(limit=1, period=1, units=1))),
        'step "a": keyed rate limit key must not be empty',
    ),
    (
        workflow(step("a", keyed_rate_limit=KeyedRateLimit(key="k", period=1, units=1))),
        'step "a": keyed rate limit must be positive',
    ),
    (
        workflow(step("a", keyed_rate_limit=KeyedRateLimit(key="k", limit=1, units=1))),
        'step "a": keyed rate limit period must be positive',
    ),
    (
        workflow(step("a", keyed_rate_limit=KeyedRateLimit(key="k", limit=1, period=1))),
        'step "a": keyed rate limit units must be positive',
    ),
    (
        workflow(step("a", keyed_rate_limit=KeyedRateLimit(key="k", limit=1, period=1, units=2))),
        'step "a": keyed rate limit units 2 exceed the limit 1',
    ),
    (
        workflow(step("a", on_failure="b")),
        'step "a" OnFailure references "b" which does not exist',
    ),
    (
        workflow(step("a", compensate="b")),
        'step "a" Compensate references "b" which does not exist',
    ),
    (
        workflow(step("a", max_task_concurrency=1001)),
        'step "a" MaxTaskConcurrency is 1001 (must be 0..1000)',
    ),
    (
        workflow(typed("wait_for_event")),
        'step "a": invalid WaitForEvent config: config is missing',
    ),
    (workflow(wait(event="")), 'step "a": WaitForEvent.Event must not be empty'),
    (workflow(wait(event="a b")), 'step "a": WaitForEvent.Event "a b" is not a clean event type'),
    (workflow(wait(match={"left": ""})), 'step "a": WaitForEvent.Match.Left must not be empty'),
    (workflow(wait(match={"op": ""})), 'step "a": WaitForEvent.Match.Op must not be empty'),
    (workflow(wait(match={"right": ""})), 'step "a": WaitForEvent.Match.Right must not be empty'),
    (
        workflow(wait(match={"op": "like"})),
        (
            'step "a": WaitForEvent.Match.Op "like" is unknown '
            "(valid: ==, !=, <, <=, >, >=, eq, ne, lt, le, gt, ge)"
        ),
    ),
    (workflow(wait(timeout=0)), 'step "a": WaitForEvent.Timeout must be positive'),
    (
        workflow(wait(match={"right": "step.a.output"})),
        'step "a": invalid step path "step.a.output" (expected step.{id}.output.{field})',
    ),
    (
        workflow(wait(match={"right": "step.ghost.output.x"})),
        'step "a": Match.Right references step "ghost" which does not exist',
    ),
    (
        workflow(wait(match={"right": "x.y"})),
        'step "a": Match.Right must start with step. or input., got "x.y"',
    ),
    (
        workflow(step("p", type="map"), typed("map", {"max_items": 1}, "p")),
        'step "a" is Map and depends on "p" which is also Map (nesting not supported)',
    ),
    (workflow(step("a", on_failure="a")), 'step "a" OnFailure references itself'),
    (workflow(step("a", compensate="a")), 'step "a" Compensate references itself'),
    (
        workflow(step("a", on_failure="c"), step("b"), step("c", "b")),
        'step "a" OnFailure target "c" must not have DependsOn',
    ),
    (
        workflow(step("a", compensate="c"), step("b"), step("c", "b")),
        'step "a" Compensate target "c" must not have DependsOn',
    ),
    (
        workflow(step("a", on_failure="b"), step("b"), step("c", "b")),
        'step "c" depends on "b" which runs on failure only',
    ),
    (
        workflow(step("a"), concurrency=Concurrency(max_steps=1001)),
        'workflow "w" Concurrency.MaxSteps is 1001 (must be 0..1000)',
    ),
    (
        workflow(step("a"), default_retry=RetryPolicy(max_attempts=100_001)),
        'workflow "w" DefaultRetry.MaxAttempts is 100001 (max 100000)',
    ),
    (
        workflow(step("a", retry=RetryPolicy(max_attempts=100_001))),
        'step "a" Retry.MaxAttempts is 100001 (max 100000)',
    ),
    (workflow(step("a", retries=100_001)), 'step "a" Retries is 100001 (max 100000)'),
    (
        workflow(step("a", retry=RetryPolicy(strategy="random"))),
        'step "a" Retry.Strategy "random" is unknown (valid: fixed, linear, exponential)',
    ),
    (
        workflow(step("a", retry=RetryPolicy(jitter=2))),
        'step "a" Retry.Jitter is 2 (must be 0..1)',
    ),
    (
        workflow(step("a", timeout=-MINUTE)),
        'step "a" Timeout must not be negative, got -1m0s',
    ),
    (
        workflow(step("a", timeout=10**30)),
        'step "a" Timeout is longer than 2562047h47m16.854775807s',
    ),
    (workflow(step("a"), timeout=-1), 'workflow "w" Timeout must not be negative, got -1ns'),
    (
        workflow(step("a"), idempotency_key=".a"),
        'idempotency_key ".a": must not start or end with dot',
    ),
    (workflow(step("a"), idempotency_key="a..b"), 'idempotency_key "a..b": empty segment'),
    (workflow(step("a"), sticky="x"), 'workflow "w": invalid sticky strategy "x"'),
    (
        workflow(step("a"), sticky="hard"),
        'workflow "w": hard sticky requires a timeout to prevent permanent blocking',
    ),
    (
        workflow(step("a", worker_group="g"), sticky="soft"),
        'workflow "w": sticky is incompatible with per-step WorkerGroup (step "a")',
    ),
    (
        workflow(step("a"), priority=PriorityConfig(rules={"x": 1})),
        "priority: key must not be empty",
    ),
    (workflow(step("a"), priority=PriorityConfig(key="k")), "priority: rules must not be empty"),
    (
        workflow(step("a"), priority=PriorityConfig(key="k", rules={str(n): 1 for n in range(21)})),
        "priority: max 20 rules",
    ),
    (
        workflow(step("a"), priority=PriorityConfig(key="k", rules={"x": 601})),
        "priority: offset 601 out of [-600, 600]",
    ),
    (
        workflow(step("a"), priority=PriorityConfig(key="k", rules={"x": 1}, default_offset=-601)),
        "priority: default_offset out of [-600, 600]",
    ),
    (
        workflow(step("a"), cancel_on=[CancelOn(event="e")] * 6),
        "cancel_on: max 5 entries",
    ),
    (workflow(step("a"), cancel_on=[CancelOn()]), "cancel_on[0]: event must not be empty"),
    (
        workflow(
            step("a"), cancel_on=[CancelOn(event="e", match=Match(left="a", op="eq", right="x"))]
        ),
        'cancel_on[0]: match.right must start with input., got "x"',
    ),
    (workflow(step("a"), singleton=Singleton(mode="x")), "singleton: mode must be skip or cancel"),
    (
        workflow(typed("respond", {"status": 99})),
        'step "a": respond status is 99 (must be 200..599)',
    ),
    (
        workflow(typed("respond", {"headers": {"X-A": "b\r\nSet-Cookie: c"}})),
        'step "a": respond header "X-A" has the invalid value "b\\r\\nSet-Cookie: c"',
    ),
    (
        workflow(step("a"), step("b", "c"), step("c", "b")),
        "workflow contains a cycle (1 of 3 steps reachable)",
    ),
    (workflow(step("a", "a")), "workflow contains a cycle (0 of 1 steps reachable)"),
]


@pytest.mark.parametrize(("definition", "text"), CASES, ids=[text[:60] for _, text in CASES])
def test_a_broken_rule_has_its_text(definition: WorkflowDef, text: str) -> None:
    assert text in texts(definition)


@pytest.mark.parametrize(
    "definition",
    [
        workflow(step("a"), step("b", "a")),
        workflow(typed("respond")),
        workflow(typed("respond", {"status": 201, "headers": {"X-A": "b"}, "body_from": "a.b"})),
        workflow(typed("sleep", {"cron": "@daily"})),
        workflow(wait()),
        workflow(step("a.b"), wait(match={"right": "step.a.b.output.x.y"})),
        workflow(step("a"), cancel_on=[CancelOn(event="e")]),
        workflow(step("a", on_failure="b", compensate="c"), step("b"), step("c")),
        workflow(step("a", type="agent"), name="team/a_b-c=1.2"),
        workflow(typed("sub_workflow", {"workflow": "w"})),
    ],
)
def test_a_sound_definition_has_no_problems(definition: WorkflowDef) -> None:
    assert texts(definition) == []


def test_every_problem_is_reported_in_the_order_of_the_reference() -> None:
    definition = workflow(
        step("a", "ghost", retries=-1), step("a", task=""), sticky="x", idempotency_key="."
    )
    assert texts(definition) == [
        'duplicate step ID "a"',
        'step "a" has negative Retries (-1)',
        'step "a" depends on non-existent step "ghost"',
        'step "a" of type normal has no task',
        'idempotency_key ".": must not start or end with dot',
        'workflow "w": invalid sticky strategy "x"',
    ]


def test_problems_say_where() -> None:
    problems = validate(workflow(step("a"), step("b", "b", task="")))
    assert [(problem.path, problem.hint) for problem in problems] == [
        ("steps[1]", ""),
        ("steps", "the cycle: b -> b"),
    ]


def test_an_undecodable_config_is_a_problem_not_an_exception() -> None:
    definition = workflow(
        msgspec.structs.replace(typed("map"), config=msgspec.Raw(b'{"max_items":"x"}'))
    )
    assert texts(definition)[0].startswith('step "a" is Map but Config is invalid: cannot decode')


def test_unknown_types_list_the_known_ones() -> None:
    assert texts(workflow(step("a", type="fancy")))[0].startswith(
        'step "a" has unknown type "fancy" (valid: normal, agent_loop'
    )


def test_long_and_hostile_texts_are_bounded_and_escaped() -> None:
    (problem,) = validate(workflow(step("a"), step("b", "\x1b[31m\u202e" + "x" * 100_000)))
    assert len(problem.text) < 200
    assert problem.text.isprintable()
    assert "\\x1b" in problem.text


def test_aux_steps_are_derived_whatever_the_client_sent() -> None:
    definition = workflow(
        step("a", on_failure="z", compensate="c"), step("z"), step("c"), aux_steps={"a": True}
    )
    assert derive_aux(definition) == {"c": True, "z": True}
    made = normalise(definition)
    assert made.aux_steps == {"c": True, "z": True}
    assert made.version == "1"
    assert normalise(made) == made


def test_ten_thousand_steps() -> None:
    chain = [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(10_000)]
    assert validate(workflow(*chain)) == []
    waits = [msgspec.structs.replace(wait(), id=f"w{n}") for n in range(2_000)]
    assert validate(workflow(*chain, *waits)) == []
