"""Workflows written in Python are the definitions that workflow files hold."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dagnats import Rate, Retry, SkipIf, When, Workflow
from dagnats.errors import InvalidError, UsageError
from dagnats.model.codec import decode
from dagnats.model.files import read_workflow
from dagnats.model.times import MINUTE, SECOND
from dagnats.model.workflow import MapConfig, SleepConfig, StepType
from dagnats.workflow_terms import nanoseconds


def everything() -> Workflow:
    wf = Workflow(
        "all-of-it",
        version="3",
        timeout="1h",
        retry=Retry(1, "fixed", initial_delay=2),
        max_runs=2,
        max_steps=3,
        input_schema={"type": "object"},
        idempotency_key="order.id",
        singleton="skip",
        singleton_key="customer",
    )
    fetch = wf.task(
        "fetch",
        "http.get",
        timeout=30,
        queue_timeout=timedelta(minutes=5),
        retry=Retry(3, initial_delay=1, max_delay="1m", jitter=0.5),
        rate_limit=Rate(10, 1),
        on_failure="alert",
        metadata={"team": "web"},
    )
    wf.task("alert", "notify", group="ops", rate_limit=Rate(5, "1m", key="who", units=2))
    each = wf.map("each", "img.resize", after=fetch, max_items=50, parallel=4)
    plan = wf.planner("plan", "agent.plan", after=[each], max_steps=5, allowed_tasks=["a"])
    wf.agent_loop("loop", "agent.review", after=[plan], max_iterations=9, loop_delay=1)
    wf.agent("think", "agent.think", after=fetch, skip_if=SkipIf(fetch, "status", "==", 404))
    wf.sub_workflow("child", "other", after=["think"], detach=True)
    wf.sleep("nap", "90s", after=fetch)
    wf.sleep("until-nine", cron="0 9 * * *", after=fetch)
    wf.wait_for_event("paid", "order.paid", When("id", "eq", "input.id"), within="1h")
    wf.approval("ok", "ask.boss", within="24h", details={"why": "big"}, compensate="undo")
    wf.task("undo", "undo", capabilities=["gpu"], max_concurrency=1)
    wf.respond("answer", status=201, body_from="fetch.body", after="fetch")
    wf.priority("tier", {"gold": 60}, default=-5)
    wf.cancel_on("order.cancelled", When("id", "eq", "input.id"), within="1h")
    return wf


def test_a_built_workflow_is_a_workflow_file() -> None:
    wf = everything()
    file = read_workflow(wf.to_json())
    assert file.problems == []
    assert file.definition == wf.build()
    assert {step.type for step in file.definition.steps} == set(StepType)


def test_what_is_written_is_what_was_said() -> None:
    definition = everything().build()
    steps = {step.id: step for step in definition.steps}
    fetch = steps["fetch"]
    assert (fetch.timeout, fetch.queue_timeout) == (30 * SECOND, 5 * MINUTE)
    assert fetch.retry is not None
    assert (fetch.retry.max_attempts, fetch.retry.strategy) == (3, "exponential")
    assert (fetch.retry.initial_delay, fetch.retry.max_delay) == (SECOND, MINUTE)
    assert (fetch.retry.multiplier, fetch.retry.jitter) == (2, 0.5)
    assert fetch.rate_limit is not None
    assert fetch.keyed_rate_limit is None
    assert steps["alert"].keyed_rate_limit is not None
    assert steps["alert"].worker_group == "ops"
    assert steps["each"].depends_on == ["fetch"]
    assert decode(bytes(steps["each"].config), MapConfig).max_concurrency == 4
    assert decode(bytes(steps["nap"].config), SleepConfig).duration == 90 * SECOND
    assert definition.aux_steps == {"alert": True, "undo": True}
    assert definition.timeout == 60 * MINUTE


def test_building_names_every_problem() -> None:
    wf = Workflow("w")
    wf.task("a", "t", after="ghost")
    wf.task("a", "")
    with pytest.raises(InvalidError) as caught:
        wf.build()
    text = "\n".join(caught.value.problems)
    assert "ghost" in text
    assert "duplicate step ID" in text


def test_a_step_of_another_workflow_is_refused() -> None:
    other = Workflow("other").task("x", "t")
    with pytest.raises(UsageError, match="belongs to workflow 'other', not 'w'"):
        Workflow("w").task("a", "t", after=other)


def test_an_unknown_option_is_refused() -> None:
    options: dict[str, Any] = {"retries": 3}
    with pytest.raises(UsageError, match="step 'a': no option 'retries'"):
        Workflow("w").task("a", "t", **options)


@pytest.mark.parametrize("span", ["", "1x", "-5s", -1, float("nan"), float("inf"), None, True])
def test_what_is_no_duration_is_refused(span: Any) -> None:
    with pytest.raises(UsageError, match="timeout is"):
        nanoseconds(span, "timeout")


def test_json_is_compact_and_durations_are_whole_nanoseconds() -> None:
    wf = Workflow("w")
    wf.task("a", "t", timeout=0.1)
    assert json.loads(wf.to_json())["steps"][0]["timeout"] == 100_000_000
