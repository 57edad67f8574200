"""Two runs side by side."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.run import StepState, WorkflowRun
from dagnats.services.run_diff import Difference, RunDiff
from dagnats.services.run_events import RunEvent
from dagnats.services.run_query import RunView
from dagnats.tui.run.compare import WHOLE, pairs_of, parting, step_of
from tests.services.conftest import step
from tests.tui.run.conftest import Run


def events(*texts: str) -> list[RunEvent]:
    words = (text.split() for text in texts)
    return [RunEvent(type=kind, run_id="r", step_id=step) for step, kind in words]


def test_runs_part_ways_at_the_first_event_that_differs_for_its_step() -> None:
    a = events("a step.started", "b step.started", "a step.completed", "b step.failed")
    b = events("b step.started", "a step.started", "b step.completed", "a step.completed")
    found = parting(a, b)
    assert found is not None
    assert (found.step, found.number, found.a, found.b) == (
        "b", 4, "step.failed", "step.completed",
    )  # fmt: skip
    assert parting(a, a) is None
    assert parting([], []) is None


def test_a_run_that_stops_sooner_parts_there() -> None:
    a = events("a step.started")
    found = parting(a, events("a step.started", "a step.completed"))
    assert found is not None
    assert (found.a, found.b) == ("", "step.completed")


def test_a_difference_belongs_to_a_step_whose_id_holds_dots() -> None:
    places = ["steps.p.x.output.n", "steps.p.status", "run.input.n", "definition.steps.a"]
    found = [step_of(Difference(path, 1, 2), ["p", "p.x"]) for path in places]
    assert found == ["p.x", "p", WHOLE, WHOLE]


def test_pairs_hold_what_either_run_knows() -> None:
    def view(**steps: StepState) -> RunView:
        return RunView(WorkflowRun(run_id="r", status="completed", steps=steps))

    done = StepState(
        status="completed",
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:02Z",
    )
    found = RunDiff("a", "b", False, [Difference("steps.y", 1, None)], {})
    pairs = pairs_of(view(x=done, y=done), view(x=done), found)
    assert [(pair.step, pair.a.status, pair.b.status, pair.differences) for pair in pairs] == [
        ("", "completed", "completed", 0),
        ("x", "completed", "completed", 0),
        ("y", "completed", "", 1),
    ]
    assert [pair.delta for pair in pairs] == [None, 0, None]


@pytest.mark.usefixtures("engine", "worker")
async def test_a_run_is_compared_with_the_last_good_one(console: Any, started: Run) -> None:
    good = await started("w", step("a"), step("b", "a"), step("c", "b"), given={"n": 1})
    bad = await started("w", step("a"), step("b", "a", task="bad"), step("c", "b"), given={"n": 2})
    async with console(f"run {bad}") as ui:
        await ui.until(lambda: ui.app.view.state.baseline is not None)
        await ui.press("d")
        await ui.sees(f"last good run {good[:8]}")
        await ui.press("d")
        await ui.sees("first at event")
        view = ui.app.view
        assert view.command() == f"dagnats run diff {bad} {good}"
        assert view.steps.current.step == "b"
        await ui.sees("no such luck")
        await ui.press("g")
        await ui.sees("run.input.n")
        await ui.press("n")
        assert view.steps.current.step == "a"
        await ui.press("N")
        assert view.steps.current.step == ""
        await ui.press("tab")
        assert view.places.has_focus
        await ui.press("enter")
        await ui.sees("esc close")
        await ui.press("escape", "s")
        await ui.until(lambda: ui.app.view.command() == f"dagnats run diff {good} {bad}")
        await ui.sees("first at event")
        await ui.press("a")
        await ui.sees(f"{good[:8]} completed")
        await ui.press("backspace")
        await ui.sees("first at event")
        await ui.press("b")
        await ui.sees(f"{bad[:8]} failed")
        await ui.press("d", "i")
        await ui.type(good[:8])
        await ui.press("enter")
        await ui.sees("first at event")


@pytest.mark.usefixtures("engine", "worker")
async def test_runs_that_are_the_same_say_so(console: Any, started: Run) -> None:
    one = await started("w", step("a"))
    other = await started("w")
    async with console(f"diff {one} {other}") as ui:
        await ui.sees("The same input, definition, steps and outputs.")
    async with console(f"diff {one} ffffffffff") as ui:
        await ui.sees("no run matching")
