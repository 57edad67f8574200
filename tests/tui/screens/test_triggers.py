from __future__ import annotations

import pytest

from dagnats.model.times import format_time
from dagnats.model.trigger import TriggerFire
from dagnats.services.session import Session
from dagnats.services.trigger_fires import FireRow
from dagnats.services.trigger_overview import TriggerLine, trigger_overview
from dagnats.services.triggers import TriggerSpec, create_trigger, list_triggers
from dagnats.tui.screens.triggers import Triggers
from tests.services.conftest import put_run
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import same


def view_of(ui: Driver) -> Triggers:
    assert isinstance(ui.app.view, Triggers)
    return ui.app.view


async def has(ui: Driver, number: int) -> None:
    await ui.until(lambda: len(view_of(ui).all) == number)


async def test_an_empty_list_and_the_cron_tester(console: Open) -> None:
    async with console("triggers", size=(80, 24)) as ui:
        await ui.sees("No trigger is set up.")
        same(ui, "triggers-empty")
        await ui.press("t")
        await ui.sees("For example:")
        await ui.type("0 3 * * *")
        await ui.sees("03:00 UTC")
        await ui.press("tab")
        for _ in "UTC":
            await ui.press("backspace")
        await ui.type("Europe/Nowhere")
        await ui.sees("Nowhere")
        await ui.press("escape")


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_they_are_added_fired_switched_edited_and_deleted(
    session: Session, workflow, console: Open, size: tuple[int, int], theme: str
) -> None:
    await workflow("w")
    async with console("triggers", size=size, theme=theme) as ui:
        await ui.press("a", "c")
        await ui.sees("Add a cron trigger")
        await ui.type("w")
        await ui.press("tab")
        await ui.type("0 3 * * *")
        await ui.press("ctrl+g")
        await ui.sees("added trig-")
        await has(ui, 1)
        await ui.press("r", "enter")
        await ui.sees("fired trig-")
        await ui.until(lambda: view_of(ui).all[0].fires)
        await ui.press("x")
        await ui.sees("is off")
        assert not (await list_triggers(session))[0].enabled
        await ui.press("u")
        await ui.sees("is on")
        assert (await list_triggers(session))[0].enabled
        await ui.until(lambda: view_of(ui).all[0].trigger.enabled)
        await ui.press("x")
        await ui.until(lambda: not view_of(ui).all[0].trigger.enabled)
        await ui.press("r")
        await ui.sees("it is off; x turns it on")
        await ui.press("E")
        await ui.sees("Its kind stays.")
        await ui.press("end", "backspace", "1", "ctrl+g")
        await ui.sees("changed trig-")
        [trigger] = await list_triggers(session)
        assert trigger.cron.expression == "0 3 * * 1"
        await ui.press("D", "enter")
        await ui.sees(f"type {trigger.id} first")
        await ui.type(trigger.id)
        await ui.press("enter")
        await ui.sees(f"deleted {trigger.id}")
        await has(ui, 0)


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_the_list_tells_how_the_fires_went(
    session: Session, workflow, console: Open, size: tuple[int, int], theme: str
) -> None:
    await workflow("w")
    cron = await create_trigger(session, "w", TriggerSpec(cron="0 3 * * *", tz="Europe/London"))
    await create_trigger(session, "w", TriggerSpec(subject="orders.>"))
    hook = await create_trigger(session, "w", TriggerSpec(webhook="/pr", secret="s3cret"))
    now = session.now()
    for at, status in enumerate(["completed", "failed", "failed"]):
        run = f"{at}" * 32
        await put_run(session, run, now, status=status, completed_at=format_time(now))
        await session.stores.fires.append(
            TriggerFire(
                trigger_id=hook.id,
                workflow_id="w",
                run_id=run,
                source="webhook",
                fired_at=format_time(now),
            )
        )
    lines = {line.trigger.id: line for line in await trigger_overview(session)}
    assert (lines[hook.id].failing, lines[hook.id].good) == (2, 1 / 3)
    assert lines[cron.id].next
    async with console("triggers kind:webhook", size=size, theme=theme) as ui:
        await has(ui, 3)
        await ui.sees("2 bad")
        assert "s3cret" not in "\n".join(ui.screen())
        assert [row.kind for row in view_of(ui).table.rows] == ["webhook"]
        await ui.press("o")
        assert ui.app.view.address().ids[0][:8] == "2" * 8
        ui.app.go("triggers")
        await ui.until(lambda: len(view_of(ui).table.rows) == 3)
        await ui.press("g", "enter")
        await ui.sees("Europe/London")
        await ui.press("escape")
        assert view_of(ui).copies()[1].text == "0 3 * * *"


def test_a_trigger_without_ended_runs_has_no_quota() -> None:
    fires = [FireRow(trigger_id="t", workflow_id="w", fired_at="", status="running")]
    line = TriggerLine(trigger=None, kind="cron", what="", next="", fires=fires)
    assert (line.good, line.failing) == (None, 0)
