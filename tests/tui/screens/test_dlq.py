from __future__ import annotations

import time

import pytest

from dagnats.runtime.engine import Engine
from dagnats.services import dlq
from dagnats.services.run_query import find_run
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.tui.screens.dlq import Dlq
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import ERRORS, bury, bury_many, same


def view_of(ui: Driver) -> Dlq:
    assert isinstance(ui.app.view, Dlq)
    return ui.app.view


def rows(ui: Driver) -> list[str]:
    return view_of(ui).table.texts()[1:]


async def count(session: Session) -> int:
    return (await dlq.list_dead(session)).total


async def all_there(ui: Driver, number: int) -> None:
    await ui.until(lambda: len(view_of(ui).facts) == number)
    await ui.pilot.pause()


@pytest.mark.parametrize(
    ("size", "theme"),
    [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-dark"), ((200, 60), "dagnats-light")],
)
async def test_groups_letters_and_the_sample(
    session: Session, console: Open, size: tuple[int, int], theme: str
) -> None:
    await bury_many(session)
    async with console("dlq", size=size, theme=theme) as ui:
        await all_there(ui, 7)
        await ui.until(lambda: ui.app.feed.health and ui.app.feed.runs.complete)
        await ui.pilot.pause()
        view_of(ui).tick()
        same(ui, f"dlq-groups-{size[0]}")
        await ui.press("enter", "j", "j", "space")
        same(ui, f"dlq-letters-{size[0]}")


async def test_an_empty_queue_says_what_to_do(console: Open) -> None:
    async with console("dlq", size=(80, 24)) as ui:
        same(ui, "dlq-empty")


async def test_hostile_text_is_shown_and_does_nothing(session: Session, console: Open) -> None:
    await bury(session, "f" * 32, ERRORS[2], text="\x1b[31m\u202e\u200b[/b]\x9b")
    async with console("dlq") as ui:
        await all_there(ui, 1)
        text = "\n".join(ui.screen())
        assert "[red]x[/red]\\x1b[31m\\u202e" in text
        assert "\x1b" not in text
        await ui.press("E")
        await ui.until(lambda: ui.app.screen.query("#text"))
        typed = ui.app.screen.query_one("#text").text
        assert '"\\u001b[31m\\u202e\\u200b[/b]\\u009b"' in typed


async def test_the_address_opens_a_group_filters_and_regroups(
    session: Session, console: Open
) -> None:
    await bury_many(session)
    groups = dlq.group_dead((await dlq.list_dead(session)).entries)
    async with console(f"dlq group:{groups[1].id}") as ui:
        await all_there(ui, 7)
        await ui.until(lambda: len(rows(ui)) == 5)
        assert view_of(ui).table.current.group.id == groups[1].id
        await ui.press("b", "r")
        await ui.until(lambda: len(rows(ui)) == 7)
        assert ui.app.view.address().terms[-1].values == ("run",)
        await ui.press("b", "e", "slash")
        await ui.type("mypy")
        await ui.until(lambda: len(rows(ui)) == 3)
        await ui.press("escape", "m")
        await ui.until(lambda: len(rows(ui)) == 2)
        await ui.press("M")
        await ui.until(lambda: len(rows(ui)) == 5)
        ui.app.go("dlq nonsense:1")
        await ui.sees("unknown filter nonsense:")


async def test_letters_that_arrive_do_not_move_the_cursor(session: Session, console: Open) -> None:
    await bury_many(session)
    async with console("dlq") as ui:
        await all_there(ui, 7)
        await ui.press("enter", "j", "j")
        key = view_of(ui).table.current.key
        await bury(session, "9" * 32, "HTTP 503 from hooks.slack.com/T09: Service Unavailable")
        await all_there(ui, 8)
        assert view_of(ui).table.current.key == key
        assert rows(ui)[0].split()[2] == "5"


async def test_a_letter_is_read_as_a_whole_and_leads_to_its_run(
    session: Session, console: Open
) -> None:
    await bury_many(session, (1,))
    async with console("dlq") as ui:
        await all_there(ui, 1)
        await ui.press("enter", "j", "enter")
        await ui.sees("TASK AS IT WAS SENT")
        await ui.press("escape", "o")
        assert ui.app.view.address().kind == "run"


async def test_one_letter_is_replayed_with_an_edited_input(
    session: Session, engine: Engine, worker: Worker, workflow, console: Open
) -> None:
    await workflow("w", step("a", task="bad"))
    started = await start_run(session, "w", b'{"pr":1}')
    await wait_run(session, started.run_id, 20)
    async with console("dlq") as ui:
        await all_there(ui, 1)
        await ui.press("E")
        await ui.sees("Input for dead letter")
        area = ui.app.screen.query_one("#text")
        area.text = "{"
        await ui.press("ctrl+g")
        await ui.sees("not JSON")
        area.text = '{"pr": 2, "healed": true}'
        await ui.press("ctrl+g")
        await ui.sees("with 2 changes")
        await ui.sees("dagnats dlq replay")
        await ui.press("enter")
        await ui.sees("replayed #")
        await ui.until(lambda: not view_of(ui).facts)
    assert (await wait_run(session, started.run_id, 20)).status == "completed"


async def test_a_group_is_replayed_in_stages(
    session: Session, engine: Engine, worker: Worker, workflow, console: Open
) -> None:
    await workflow("w", step("a", task="bad"))
    runs = [(await start_run(session, "w", b"{}")).run_id for _ in range(3)]
    for run in runs:
        await wait_run(session, run, 20)
    async with console("dlq") as ui:
        await all_there(ui, 3)
        await ui.press("r")
        await ui.sees("all 3 at once")
        await ui.press("1")
        await ui.sees("1 first, watched")
        await ui.sees("3 to bad: 1 worker")
        await ui.press("enter")
        await ui.sees("the other 2 stay")
        view = view_of(ui)
        await ui.until(lambda: len(view.facts) == 3)

        async def failed_again() -> bool:  # A letter is there a moment before its run says so.
            found = [await find_run(session, run) for run in runs]
            again = sum(run.reopened for run in found)
            return again == 1 and all(run.status == "failed" for run in found)

        await eventually(failed_again)
        await ui.until(lambda: not any(map(view.why_not, view.facts.values())))
        await ui.press("r", "a")
        await ui.sees("3 failed runs")
        await ui.press("enter")
        await ui.until(lambda: view.doer.job is None)
        assert ui.app.reports.last[0] == "replayed 3 dead letters"


async def test_what_cannot_be_replayed_says_why(session: Session, console: Open) -> None:

    await bury_many(session, (2,))
    done = f"0{0:07x}{'e' * 24}"
    await put_run(session, done, time.time_ns(), status="completed", workflow_id="notify")
    async with console("dlq") as ui:
        await all_there(ui, 2)
        await ui.press("r")
        await ui.sees("1 left out: its run is completed")
        await ui.press("escape", "enter", "j", "j", "r")
        await ui.sees("nothing can be replayed: its run is completed")
        await ui.press("E")
        await ui.sees("it cannot be replayed: its run is completed")


async def test_a_discard_can_be_undone_and_is_executed_later(
    session: Session, console: Open
) -> None:
    await bury_many(session)
    async with console("dlq") as ui:
        await all_there(ui, 7)
        await ui.press("enter", "j", "space", "space", "D")
        await ui.sees("Discard 2 dead letters")
        await ui.press("enter")
        await ui.sees("discarding 2 dead letters in 8 s")
        await ui.sees("goes in")
        await ui.press("u")
        await ui.sees("kept 2 dead letters")
        assert await count(session) == 7
        view_of(ui).doer.grace_s = 0.05
        await ui.press("D", "enter")
        await ui.sees("discarded 1 dead letter")
        assert await count(session) == 6
        await all_there(ui, 6)


async def test_many_need_their_number_typed(session: Session, console: Open) -> None:
    await bury_many(session, (11,))
    async with console("dlq") as ui:
        await all_there(ui, 11)
        view_of(ui).doer.grace_s = 0.01
        await ui.press("D", "enter")
        await ui.sees("type 11 first")
        await ui.type("11")
        await ui.press("enter")
        await ui.sees("discarded 11 dead letters")
        assert await count(session) == 0
        await ui.sees("Nothing is dead.")


async def test_a_long_replay_can_be_stopped(session: Session, console: Open) -> None:
    await bury_many(session, (3,))
    async with console("dlq") as ui:
        await all_there(ui, 3)
        await ui.press("r", "1", "enter")
        await ui.sees("replaying 0 of 3")
        await ui.press("r")
        await ui.sees("a replay is under way")
        await ui.press("S")
        await ui.sees("stopped: 0 of 3")


async def test_read_only_shows_the_keys_and_why_they_are_off(
    session: Session, console: Open
) -> None:
    await bury_many(session, (2,))
    async with console("dlq", size=(80, 24), read_only="the console is read-only") as ui:
        await all_there(ui, 2)
        for key in ("r", "D", "E"):
            await ui.press(key)
            await ui.sees("the console is read-only" if key != "E" else "choose one letter")
        assert await count(session) == 2


async def test_what_can_be_copied(session: Session, console: Open) -> None:
    await bury_many(session, (1,))
    async with console("dlq") as ui:
        await all_there(ui, 1)
        copies = {copy.key: copy.text for copy in view_of(ui).copies()}
        assert copies["y"] == "1"
        assert "503" in copies["e"]
        assert view_of(ui).command() == "dagnats dlq list"
