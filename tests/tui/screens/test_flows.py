from __future__ import annotations

import json
import time

import pytest

from dagnats.model.times import HOUR
from dagnats.runtime.engine import Engine
from dagnats.services.control import paused
from dagnats.services.run_query import recent_ids
from dagnats.services.run_rows import RunRow
from dagnats.services.run_watch import wait_run
from dagnats.services.schedules import list_schedules
from dagnats.services.session import Session
from dagnats.services.workflows import get_workflow, revisions
from dagnats.tui.screens.flow import Flow
from dagnats.tui.screens.flow_do import start_time, time_problem
from dagnats.tui.screens.flow_simulate import scenario_of
from dagnats.tui.screens.flow_stats import stats_of
from dagnats.tui.screens.flows import Flows
from dagnats.tui.sheets.form import fields_of
from dagnats.worker.worker import Worker
from tests.services.conftest import put_run, step
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import same

SCHEMA = {
    "type": "object",
    "required": ["ref"],
    "properties": {
        "ref": {"type": "string", "description": "branch or commit"},
        "pr": {"type": "integer", "minimum": 1},
        "mode": {"enum": ["fast", "full"], "default": "fast"},
        "labels": {"type": "array"},
    },
}


def of(ui: Driver, kind: type) -> object:
    assert isinstance(ui.app.view, kind)
    return ui.app.view


async def graph(workflow, name: str = "review") -> None:
    await workflow(
        name,
        step("plan"),
        step("lint", "plan", timeout=5_000_000_000),
        step("types", "plan", task="typecheck", retries=2),
        step("merge", "lint", "types"),
        input_schema=SCHEMA,
    )


async def test_an_empty_list_says_how_to_begin(console: Open) -> None:
    async with console("flows", size=(80, 24)) as ui:
        await ui.sees("No workflow is registered.")
        same(ui, "flows-empty")


@pytest.mark.parametrize(
    ("size", "theme"),
    [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light"), ((200, 60), "dagnats-dark")],
)
async def test_the_list_and_one_workflow(
    session: Session, workflow, console: Open, size: tuple[int, int], theme: str
) -> None:
    await graph(workflow)
    await workflow("etl", step("a"))
    now = time.time_ns()
    for at, status in enumerate(["completed", "completed", "failed"]):
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // 10**9))
        await put_run(
            session, f"{at}" * 32, now, status=status, workflow_id="etl", completed_at=ended
        )
    async with console("flows", size=size, theme=theme) as ui:
        await ui.until(lambda: len(of(ui, Flows).table.rows) == 2)
        await ui.until(lambda: of(ui, Flows).stats and of(ui, Flows).stats["etl"].started == 3)
        await ui.sees("67")
        same(ui, f"flows-{size[0]}")
        await ui.press("j", "enter")
        await ui.until(lambda: isinstance(ui.app.view, Flow) and ui.app.view.versions)
        await ui.press("j", "j")
        same(ui, f"flow-steps-{size[0]}")
        await ui.press("tab")
        await ui.sees("typecheck")
        await ui.press("tab")
        await ui.sees("new runs take it")
        assert ui.app.view.command() == "dagnats workflow revisions review"
        ui.app.go("flow nowhere")
        await ui.sees("There is no workflow nowhere")


async def test_a_run_is_started_by_the_form_of_its_schema(
    session: Session, engine: Engine, worker: Worker, workflow, console: Open
) -> None:
    await workflow("w", input_schema=SCHEMA)
    async with console("flows") as ui:
        await ui.until(lambda: of(ui, Flows).table.rows)
        await ui.press("r")
        await ui.sees("branch or commit: text, required")
        await ui.press("ctrl+g")
        await ui.sees("ref")
        await ui.type("main")
        await ui.press("tab", "tab", "tab")
        await ui.type("zero")
        await ui.press("ctrl+g")
        await ui.sees("pr: not integer: zero")
        await ui.press("backspace", "backspace", "backspace", "backspace", "7", "ctrl+o")
        await ui.until(lambda: ui.app.screen.query("#text"))
        assert '"pr": 7' in ui.app.screen.query_one("#text").text
        await ui.press("ctrl+g")
        await ui.sees("dagnats run start w --input")
        await ui.press("enter")
        await ui.until(lambda: ui.app.view.address().kind == "run")
        [run_id] = await recent_ids(session, 2)
        run = await wait_run(session, run_id, 20)
    assert json.loads(bytes(run.input)) == {"mode": "fast", "pr": 7, "ref": "main"}
    assert run.status == "completed"


async def test_a_run_is_started_later_and_simulated(
    session: Session, workflow, console: Open
) -> None:
    await workflow("w")
    async with console("flow w") as ui:
        await ui.press("t")
        await ui.type("yesterday")
        await ui.press("enter")
        await ui.sees("neither a duration nor a time")
        for _ in "yesterday":
            await ui.press("backspace")
        await ui.type("2h")
        await ui.press("enter")
        await ui.sees("Start w at 20")
        await ui.press("ctrl+g", "enter")
        await ui.sees("scheduled run")
        [later] = await list_schedules(session)
        assert later.workflow_id == "w"
        await ui.press("S")
        await ui.sees("Simulate w")
        await ui.press("ctrl+g")
        await ui.sees("What goes wrong")
        await ui.type("a=1 b=2s nope=1")
        await ui.press("enter")
        await ui.sees("there is no step nope")
        for _ in " nope=1":
            await ui.press("backspace")
        await ui.press("enter")
        await ui.sees("failed")
        await ui.sees("dead letters of a")


async def test_it_is_paused_edited_compared_and_deleted(
    session: Session, workflow, console: Open
) -> None:
    await workflow("w")
    async with console("flow w") as ui:
        await ui.press("P", "enter")
        await ui.sees("w is paused")
        assert (await paused(session)).workflows == ["w"]
        await ui.press("u")
        await ui.sees("w goes on")
        assert (await paused(session)).workflows == []
        await ui.press("E")
        await ui.sees("Runs in flight keep")
        area = ui.app.screen.query_one("#text")
        text = area.text
        area.text = text.replace('"a"', '"c"', 1)
        await ui.press("ctrl+g")
        await ui.until(lambda: "depends" in "".join(ui.screen()))
        area.text = text.replace('"version": "1"', '"version": "2"')
        await ui.press("ctrl+g")
        await ui.sees("with 1 change")
        await ui.press("enter")
        await ui.sees("updated w")
        assert (await get_workflow(session, "w")).version == "2"
        assert len(await revisions(session, "w")) == 2
        await ui.until(lambda: len(of(ui, Flow).versions) == 2)
        ui.app.go("flow w view:versions")
        await ui.sees("new runs take it")
        await ui.press("d")
        await ui.sees("1 change")
        await ui.press("escape")
        await ui.until(lambda: len(ui.app.screen_stack) == 1)
        await ui.press("space", "space", "enter")
        await ui.sees("1 change")
        await ui.press("escape")
        await ui.until(lambda: len(ui.app.screen_stack) == 1)
        await ui.press("D")
        await ui.sees("Delete workflow w")
        await ui.type("w")
        await ui.press("enter")
        await ui.sees("deleted workflow w")
        await ui.until(lambda: isinstance(ui.app.view, Flows))
    assert await revisions(session, "w")


async def test_read_only_leaves_looking(workflow, console: Open) -> None:
    await workflow("w")
    async with console("flows", read_only="read-only") as ui:
        await ui.until(lambda: of(ui, Flows).table.rows)
        for key in ("r", "t", "P", "E", "D"):
            await ui.press(key)
            await ui.sees(": read-only")
        await ui.press("S")
        await ui.sees("Simulate w")
        await ui.press("escape", "o")
        assert ui.app.view.address().terms[0].values == ("w",)


async def test_statistics_are_those_of_the_day() -> None:
    now = 100 * HOUR
    rows = [
        RunRow(
            run_id=str(at),
            workflow="w",
            status=status,
            state=status,
            created_ns=now - back * HOUR,
            ended_ns=now - back * HOUR + 10 if status != "running" else 0,
        )
        for at, (status, back) in enumerate(
            [("completed", 0), ("failed", 1), ("running", 30), ("failed", 40)]
        )
    ]
    stats = (await stats_of(rows, now))["w"]
    assert (stats.started, stats.completed, stats.failed, stats.good) == (2, 1, 1, 0.5)
    assert (stats.states, stats.quantile(0.5)) == ({"failed": 1, "running": 1}, 10)
    assert stats.newest is rows[0]


def test_fields_and_times_and_scenarios() -> None:
    found = fields_of(json.dumps(SCHEMA).encode())
    assert [(field.name, field.kind, field.required) for field in found] == [
        ("ref", "string", True),
        ("pr", "integer", False),
        ("mode", "json", False),
        ("labels", "json", False),
    ]
    assert fields_of(b'{"type":"array"}') == fields_of(b"[]") == fields_of(b"{") == []
    assert start_time("in 1h", 0) == "1970-01-01T01:00:00Z"
    assert time_problem("2020-01-01T00:00:00Z", time.time_ns()).endswith("ago")
    scenario = scenario_of("a=2 b=always c=5s", b"{}", [], "w")
    assert (scenario.failures, scenario.durations) == ({"a": 2, "b": -1}, {"c": 5 * 10**9})
