"""What is usual for a workflow, and what a step got."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import SECOND, format_time
from dagnats.services.run_baseline import Usual, baseline, baseline_of, run_duration
from dagnats.services.run_inputs import input_of, output_of_run
from dagnats.services.run_query import RunView
from dagnats.services.session import Session
from tests.services.conftest import put_run
from tests.tui.run.stories import Story, flow, step

EPOCH = 1_700_000_000 * SECOND


def ran(seconds: float, status: str = "completed") -> WorkflowRun:
    began, ended = format_time(EPOCH), format_time(EPOCH + int(seconds * SECOND))
    state = StepState(status=status, started_at=began, finished_at=ended)
    return WorkflowRun(
        run_id=f"r{seconds}", status="completed", created_at=began, completed_at=ended,
        steps={"a": state},
    )  # fmt: skip


def test_the_median_and_nearly_the_longest() -> None:
    found = baseline_of([ran(seconds) for seconds in (9, 1, 2, 3, 4)])
    assert found.steps["a"] == found.whole == Usual(3 * SECOND, 9 * SECOND, 5)
    assert found.runs[0] == "r9"
    assert baseline_of([]).whole is None
    assert baseline_of([ran(1, "failed")]).steps == {}


def test_a_run_that_says_not_how_long_it_took_says_nothing() -> None:
    assert run_duration(WorkflowRun(run_id="r")) is None
    assert baseline_of([WorkflowRun(run_id="r")]).whole is None


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(9, "slower"), (6, ""), (4, ""), (1, "faster"), (4.05, "")]
)
def test_slower_is_much_slower_and_faster_much_faster(seconds: float, verdict: str) -> None:
    assert Usual(4 * SECOND, 7 * SECOND, 5).verdict(int(seconds * SECOND)) == verdict


def test_few_runs_or_few_milliseconds_say_nothing() -> None:
    assert Usual(SECOND, SECOND, 2).verdict(9 * SECOND) == ""
    assert Usual(1_000_000, 1_000_000, 9).verdict(50_000_000) == ""


async def test_only_runs_that_are_there_and_completed_count(session: Session) -> None:
    ended = format_time(EPOCH + SECOND)
    await put_run(session, "a" * 32, EPOCH, completed_at=ended)
    await put_run(session, "b" * 32, EPOCH, status="failed", completed_at=ended)
    found = await baseline(session, ["a" * 32, "b" * 32, "c" * 32])
    assert (found.runs, found.whole) == (["a" * 32], Usual(SECOND, SECOND, 1))


def value(data: Any) -> Any:
    return json.loads(bytes(data)) if bytes(data) else None


def test_what_a_step_got_follows_from_what_came_before_it() -> None:
    each = step("each", "one", type="map", config={"max_items": 9})
    story = Story(
        flow("w", step("one"), step("two"), each, step("join", "each", "two"), step("fix"))
    )
    story.start("w", {"n": 1})
    story.work(output=[5, 6], of="one")
    story.work(output={"t": 2}, of="two")
    story.work(output="x", of="each.map.0")
    view = story.view()
    assert value(input_of(view, "one")) == {"n": 1}
    assert value(input_of(view, "each")) == [5, 6]
    assert value(input_of(view, "each.map.1")) == 6
    assert value(input_of(view, "each.map.7")) is None
    assert value(input_of(view, "join")) == {"each": None, "two": {"t": 2}}
    assert value(input_of(view, "nobody")) is None
    assert value(input_of(RunView(view.run), "one")) is None


def test_what_a_run_puts_out_is_what_its_last_steps_put_out() -> None:
    story = Story(flow("w", step("one"), step("two")))
    story.start("w")
    story.work(output=1, of="one")
    assert value(output_of_run(story.view())) == {"one": 1, "two": None}
    assert value(output_of_run(RunView(story.run()))) is None


def test_a_rescuer_got_what_it_was_called_with() -> None:
    story = Story(flow("w", step("a", on_failure="fix"), step("fix")))
    story.start("w")
    story.break_down(error="boom", kind="non_retriable")
    assert value(input_of(story.view(), "fix")) == {"failed_step": "a", "error": "boom"}
