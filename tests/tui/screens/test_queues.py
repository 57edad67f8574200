from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from dagnats.runtime.engine import Engine
from dagnats.services.control import pause
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.tui.screens.queue_rows import Depths, needed, queue_lines
from dagnats.tui.screens.queues import Queues
from dagnats.worker.worker import Worker
from tests.services.conftest import definition_of, step
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import same


def view_of(ui: Driver) -> Queues:
    assert isinstance(ui.app.view, Queues)
    return ui.app.view


@asynccontextmanager
async def served(session: Session):
    """A worker by a known name, busy for ever with its one task."""
    worker = Worker(session.bus.options.url)
    worker.worker_id = "wrk-7f2"

    @worker.task("t")
    async def echo(job: dict) -> dict:
        return {}

    async with worker:
        yield worker


async def test_an_empty_system_says_how_to_begin(console: Open) -> None:
    async with console("queues", size=(80, 24)) as ui:
        await ui.sees("dagnats workflow register workflow.json")
        same(ui, "queues-empty")
        await ui.press("tab")
        await ui.sees("dagnats init my-project")
        assert ui.app.view.address().kind == "workers"


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_what_nobody_serves_is_loud(
    session: Session,
    engine: Engine,
    workflow,
    console: Open,
    size: tuple[int, int],
    theme: str,
) -> None:
    await workflow("etl", step("extract"), step("transform", "extract", task="etl-transform"))
    async with served(session), console("queues", size=size, theme=theme) as ui:
        await start_run(session, "etl", b"{}")
        await ui.sees("1 task cannot start: nobody serves etl-transform")
        await ui.app.feed.look()
        await ui.until(lambda: view_of(ui).oldest)
        await ui.until(lambda: "t" in [q.task for q in view_of(ui).lines if q.row.served])
        view_of(ui).depths = Depths()
        assert view_of(ui).queue_list.current.task == "etl-transform"
        await ui.press("o")
        address = ui.app.view.address()
        assert [term.values for term in address.terms] == [("etl",), ("transform",), ("active",)]
        await ui.press("backspace", "slash")
        await ui.type("nothing like it")
        await ui.sees("No queue matches")
        await ui.press("escape", "tab")
        await ui.until(lambda: view_of(ui).worker)
        assert view_of(ui).worker.worker.worker_id == "wrk-7f2"
        await ui.sees("wrk-7f2")
        await ui.press("enter")
        assert ui.app.view.address().terms[0].values == ("wrk-7f2",)


async def test_a_paused_engine_is_told(session: Session, workflow, console: Open) -> None:
    await workflow("w")
    async with served(session):
        await pause(session)
        async with console("queues") as ui:
            await ui.sees("dispatch is paused")
            assert ui.app.view.command() == "dagnats status --detail"


def test_queues_of_groups_are_those_of_their_task() -> None:
    flow = definition_of("w", step("a", worker_group="gpu"), step("b", "a", type="sleep", task=""))
    assert needed([flow]) == {"t.gpu": ["w/a"]}


def test_depths_are_bounded() -> None:
    from dagnats.services.control import PauseState
    from dagnats.services.health import Health
    from dagnats.services.infos import QueueRow

    depths = Depths(keep=3)
    for at in range(1, 6):
        health = Health(
            at=at,
            streams=[],
            queues=[QueueRow(task="t", pending=at)],
            workers=[],
            engine=True,
            lag=0,
            paused=PauseState(False, []),
            events_seq=0,
            dead=0,
            dead_seq=0,
        )
        assert depths.look(health)
        assert not depths.look(health)
    assert depths.seen["t"] == [3, 4, 5]
    [line] = queue_lines(health, {})
    assert line.gate == ("nobody serves it", "bad")
