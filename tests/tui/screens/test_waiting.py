from __future__ import annotations

import json

import pytest

from dagnats.model.times import HOUR, format_time
from dagnats.runtime.engine import Engine
from dagnats.services.run_query import find_run
from dagnats.services.run_steps import pending_approvals
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.schedules import list_schedules
from dagnats.services.session import Session
from dagnats.tui.screens.waiting import Waiting
from tests.conftest import eventually
from tests.services.conftest import step
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import same


def view_of(ui: Driver) -> Waiting:
    assert isinstance(ui.app.view, Waiting)
    return ui.app.view


async def test_nothing_waits(console: Open) -> None:
    async with console("waiting", size=(80, 24)) as ui:
        await ui.sees("Nothing waits for a decision.")
        same(ui, "waiting-empty")
        await ui.press("tab")
        await ui.sees("No run is to start later.")


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_approvals_are_decided_with_a_body(
    session: Session,
    engine: Engine,
    workflow,
    console: Open,
    size: tuple[int, int],
    theme: str,
) -> None:
    config = {"timeout": HOUR, "subject": "ship.it", "description": "Ship [b]1.2.0[/b]?"}
    await workflow("release", step("ok", type="approval", task="", config=config))
    runs = [(await start_run(session, "release", b"{}")).run_id for _ in range(3)]

    async def all_ask() -> bool:
        return len(await pending_approvals(session)) == 3

    await eventually(all_ask)
    async with console("approvals", size=size, theme=theme) as ui:
        await ui.until(lambda: len(view_of(ui).asked.rows) == 3)
        await ui.sees("Ship [b]1.2.0[/b]?")
        first = view_of(ui).asked.current
        await ui.press("a")
        await ui.type("{nonsense")
        await ui.press("enter")
        await ui.sees("malformed")
        for _ in "{nonsense":
            await ui.press("backspace")
        await ui.type('{"by":"ada"}')
        await ui.press("enter")
        await ui.sees("approved ok")
        run = await wait_run(session, first.run_id, 20)
        assert json.loads(run.steps["ok"].output) == {"by": "ada"}
        await ui.until(lambda: len(view_of(ui).asked.rows) == 2)
        await ui.press("*", "X", "enter")
        await ui.sees("Reject 2 approvals")
        await ui.type("2")
        await ui.press("enter")
        await ui.sees("rejected 2 approvals")
        for run_id in set(runs) - {first.run_id}:
            assert (await wait_run(session, run_id, 20)).status == "failed"
        assert (await find_run(session, runs[0])).status


async def test_schedules_are_cancelled_and_set_anew(
    session: Session, workflow, console: Open
) -> None:
    await workflow("w")
    for hours in (1, 2):
        at = format_time(session.now() + hours * HOUR)
        await start_run(session, "w", b'{"day":1}', at)
    async with console("schedules") as ui:
        await ui.until(lambda: len(view_of(ui).later.rows) == 2)
        first = view_of(ui).later.current
        assert view_of(ui).command() == "dagnats run list --scheduled"
        await ui.press("c")
        await ui.sees("u schedules the same anew")
        await ui.press("enter")
        await ui.sees("cancelled 1 scheduled run")
        assert len(await list_schedules(session)) == 1
        await ui.press("u")
        await ui.sees("scheduled 1 run anew")
        again = [run for run in await list_schedules(session) if run.run_at == first.run_at]
        assert bytes(again[0].input) == b'{"day":1}'
        await ui.press("slash")
        await ui.type("nothing")
        await ui.sees("No schedule matches")
