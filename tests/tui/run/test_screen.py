"""The screen of a run on a real server: what it shows, and every key that looks around."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.times import SECOND
from dagnats.services.address import format_address
from dagnats.services.run_events import run_at, run_events
from dagnats.services.run_query import find_run
from dagnats.services.run_steps import approve, override_step
from dagnats.services.run_watch import wait_run
from dagnats.services.run_why import why
from dagnats.services.runs import retry_run
from dagnats.services.session import Session
from dagnats.tui import clipboard
from tests.services.conftest import Register, step
from tests.tui.run.conftest import Run, waits

pytestmark = pytest.mark.usefixtures("engine", "worker")
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egpj.exe\r[/bold]"

NAP = step("nap", "a", type="sleep", task="", config={"duration": 3600 * SECOND})
ASK = step(
    "ask", "a", type="approval", task="", config={"timeout": 3600 * SECOND, "subject": "ask.who"}
)


def rows(ui: Any, pane: str) -> list[str]:
    return ui.app.view.query_one(f"#run-{pane}").texts()


def cursor(ui: Any) -> str:
    return ui.app.view.row.key


FAILING = (step("a"), step("b", "a", task="bad"), step("c", "b"))


async def test_a_failed_run_opens_at_what_failed(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.sees("no such luck")
        await ui.until(lambda: ui.app.view.state.dead)
        assert cursor(ui) == "b"
        head = rows(ui, "head")
        assert f"{run_id[:8]} failed   w v1" in head[0]
        assert "b no such luck" in head[1]
        assert "DLQ #1" in head[1]
        picture = [row.split() for row in rows(ui, "picture")]
        assert [(row[1] if row[0] == "▌" else row[0]) for row in picture[1:]] == list("✗✓✗○")
        assert "not reached" in rows(ui, "picture")[4]
        assert "ValueError" in "\n".join(rows(ui, "inspector"))
        assert ui.app.view.inspector.tab == "error"


async def test_a_prefix_and_last_find_the_run(console: Any, started: Run) -> None:
    run_id = await started("w", step("a"))
    async with console(f"run {run_id[:8]}") as ui:
        await ui.sees(f"{run_id[:8]} completed")
    async with console("run last step:a") as ui:
        await ui.sees(f"{run_id[:8]} completed")
        assert cursor(ui) == "a"


async def test_a_run_that_is_not_there_is_told(console: Any) -> None:
    async with console(f"run {'f' * 32}") as ui:
        await ui.sees("not found")
    async with console("run abcdefgh") as ui:
        await ui.sees('no run matching prefix "abcdefgh"')


async def test_a_run_is_followed_to_its_end(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", step("a"), ASK, step("z", "ask"), end=False)
    await waits(session, run_id, "ask")
    async with console(f"run {run_id}") as ui:
        await ui.sees("asks approval")
        assert cursor(ui) == "ask"
        await ui.until(lambda: ui.app.view.state.total >= 4)
        before = ui.app.view.state.total
        await approve(session, run_id, "ask")
        await ui.sees("completed   w v1")
        await ui.until(lambda: ui.app.view.state.total > before)
        assert "✓" in rows(ui, "picture")[-1]
        assert cursor(ui) == "ask"


async def test_every_moment_of_the_past_can_be_seen(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", *FAILING)
    events = await run_events(session, run_id)
    async with console(f"run {run_id}") as ui:
        view = ui.app.view
        await ui.until(lambda: view.state.history.begun)
        await ui.press("[")
        assert view.state.position == len(events) - 1
        await ui.sees("AS OF EVENT")
        await ui.sees("later")
        await ui.press("(")
        assert view.state.position == 1
        for count in range(1, len(events)):
            then = await run_at(session, run_id, events[count - 1].seq)
            assert view.state.moment().run.steps == then.steps
            assert view.command() == f"dagnats run show {run_id} --at-seq={events[count - 1].seq}"
            assert f"at:{count}" in ui.screen()[-2]
            await ui.press("]")
        assert view.state.live
        await ui.press("{")
        assert events[view.state.position - 1].type == "step.failed"
        await ui.press("}")
        await ui.press("\\")
        assert view.state.live


async def test_the_past_has_an_address_and_no_actions(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id} at:3") as ui:
        await ui.sees("AS OF EVENT 3")
        for key in ("r", "c", "i", "s", "a"):
            await ui.press(key)
            await ui.sees("this is the past")


async def test_an_event_leads_to_its_moment(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.until(lambda: ui.app.view.state.history.begun)
        await ui.press("tab")
        assert ui.app.view.events.has_focus
        await ui.press("g", "j", "j", "enter")
        assert ui.app.view.state.position == 3


async def test_tabs_of_the_inspector(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id} step:a") as ui:
        inspector = ui.app.view.inspector
        assert inspector.tab == "output"
        seen: list[str] = []
        for _ in range(5):
            await ui.press("t")
            seen.append(inspector.tab)
        assert seen == ["error", "attempts", "logs", "input", "output"]
        assert any("got: {1}" in row for row in rows(ui, "inspector"))
        await ui.press("t", "t")
        assert any("#1" in row and "completed" in row for row in rows(ui, "inspector"))
        await ui.press("t")
        await ui.sees("nothing was logged about this")
        await ui.press("k")
        assert inspector.tab == "logs"
        ui.app.act_by_id("run.tab.input")
        assert inspector.tab == "input"


async def test_a_document_folds_and_is_searched(console: Any, started: Run) -> None:
    deep = {"n": 1, "deep": {"er": {"needle": [1, 2], "hay": "needle too"}}}
    run_id = await started("w", step("a"), given=deep)
    async with console(f"run {run_id} step:a") as ui:
        ui.app.act_by_id("run.tab.input")
        await ui.press("enter")
        view = ui.app.view
        assert view.inspector.has_focus
        sizes = [len(view.inspector.rows)]
        for _ in range(2):
            await ui.press("g", "j", "X")
            sizes.append(len(view.inspector.rows))
        assert sizes == [3, 7, 2]
        await ui.press("/")
        await ui.type("needle")
        await ui.press("enter")
        assert view.inspector.hits == 2
        view.inspector.focus()
        await ui.press("n")
        first = view.inspector.current.key
        await ui.press("N")
        assert view.inspector.current.key != first
        await ui.press("g", "x")
        assert view.inspector.current.node.path == ("deep",)


async def test_filtering_events(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id} step:a") as ui:
        events = ui.app.view.events
        await ui.until(lambda: len(events.rows) > 6)
        await ui.press("f")
        assert {ui.app.view.state.history.events[n - 1].step_id for n in events.rows} == {"a"}
        await ui.press("f", "/")
        await ui.type("failed")
        await ui.until(lambda: len(events.rows) == 2)
        await ui.press("enter")
        assert "/failed" in ui.screen()[-2]
        await ui.press("escape")
        await ui.until(lambda: len(events.rows) > 6)


async def test_escape_leaves_what_was_entered_last(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console("runs") as ui:
        ui.app.go(f"run {run_id} at:3")
        await ui.sees("AS OF EVENT 3")
        view = ui.app.view
        await ui.press("z", "f")
        assert (view.zoomed, bool(view.events.step)) == ("picture", True)
        await ui.press("escape")
        assert (view.zoomed, view.events.step) == ("picture", "")
        await ui.press("escape")
        assert (view.zoomed, view.state.position) == ("", 3)
        await ui.press("escape")
        assert view.state.live
        await ui.press("escape")
        await ui.until(lambda: ui.app.view.address().kind == "runs")


async def test_maps_and_fans_open(console: Any, started: Run, workflow: Register) -> None:
    names = [f"w{at}" for at in range(12)]
    fan = [step(name, "a") for name in names]
    run_id = await started("w", step("a"), *fan, step("z", *names))
    async with console(f"run {run_id}") as ui:
        picture = ui.app.view.picture
        await ui.until(lambda: len(picture.rows) == 4)
        assert "12/12" in rows(ui, "picture")[3]
        await ui.press("g", "j", "j", "enter")
        assert len(picture.rows) == 16
        await ui.press("x")
        assert len(picture.rows) == 4
        assert any("w3" in row for row in rows(ui, "inspector"))


async def test_failed_steps_are_found(console: Any, started: Run) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}") as ui:
        await ui.press("g")
        assert cursor(ui) == ""
        await ui.press("n")
        assert cursor(ui) == "b"
        await ui.press("n")
        await ui.sees("no other failed step")
        await ui.press("G", "N")
        assert cursor(ui) == "b"


async def test_zoom_and_ghosts(console: Any, started: Run) -> None:
    for _ in range(3):
        await started("w", step("a"))
    run_id = await started("w", step("a"))
    async with console(f"run {run_id}") as ui:
        view = ui.app.view
        await ui.until(lambda: view.state.baseline is not None)
        assert len(view.state.baseline.runs) == 3
        await ui.sees("p50")
        tall = view.picture.size.height
        await ui.press("z")
        await ui.until(lambda: view.picture.size.height > tall)
        await ui.press("z")
        await ui.until(lambda: view.picture.size.height == tall)
        shown = rows(ui, "picture")
        await ui.press("b")
        assert not view.state.ghosts
        assert rows(ui, "picture") is not shown


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 45), (200, 60), (60, 16)])
async def test_every_pane_is_reached_at_every_size(
    console: Any, started: Run, size: tuple[int, int]
) -> None:
    run_id = await started("w", *FAILING)
    async with console(f"run {run_id}", size=size) as ui:
        view = ui.app.view
        names: list[str] = []
        for _ in range(3):
            pane = ui.app.focused
            await ui.until(lambda pane=pane: pane.size.height > 1)
            names.append(pane.id)
            await ui.press("tab")
        assert sorted(names) == ["run-events", "run-inspector", "run-picture"]
        assert view.picture.size.height >= 4
        assert all(len(row) <= size[0] for row in ui.screen())


async def test_why_says_what_the_service_says(console: Any, started: Run, session: Session) -> None:
    run_id = await started("w", step("a"), NAP, end=False)
    await waits(session, run_id, "nap")
    (reason,) = await why(session, run_id)
    async with console(f"run {run_id}") as ui:
        await ui.press("w")
        await ui.sees('step "nap" wakes in 59m')
        assert reason.claim.startswith('step "nap" wakes in 59m')
        await ui.sees(f"same as: dagnats run why {run_id}")
        await ui.press("escape")


async def test_relatives_are_a_key_away(
    console: Any, started: Run, session: Session, workflow: Register
) -> None:
    await workflow("inner", step("x"))
    sub = step("sub", type="sub_workflow", task="", config={"workflow": "inner"})
    run_id = await started("outer", sub)
    child = (await find_run(session, run_id)).steps["sub"].child_run_id
    async with console(f"run {run_id} step:sub") as ui:
        await ui.press("o")
        await ui.sees("child run")
        await ui.press("c")
        await ui.sees(f"{child[:8]} completed")
        await ui.sees(f"child of {run_id[:8]}")
        await ui.press("o", "p")
        await ui.sees(f"{run_id[:8]} completed")
        await ui.press("enter")
        await ui.sees(f"{child[:8]} completed")
        await ui.press("o", "o")
        await ui.sees("there is no origin")
        await ui.press("o", "r")
        await ui.until(lambda: ui.app.view.address().kind == "runs")


async def test_what_is_under_the_cursor_is_copied(
    console: Any, started: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr(clipboard, "copy", lambda text, by: copied.append(text) or "a test")
    run_id = await started("w", *FAILING, given={"who": {"name": "ada"}})
    async with console(f"run {run_id}") as ui:
        await ui.sees("no such luck")
        await ui.press("y", "i", "y", "s", "y", "e", "y", "c", "y", "u")
        assert copied == [
            run_id,
            "b",
            "no such luck",
            f"dagnats run inspect {run_id}",
            f"run {run_id[:8]} step:b",
        ]
        await ui.press("g")
        ui.app.act_by_id("run.tab.input")
        ui.app.view.inspector.focus()
        await ui.press("j", "y", "v", "y", "p", "y", "I")
        assert copied[5:] == ["ada", "who.name", '{"who":{"name":"ada"}}']
        ui.app.view.events.focus()
        await ui.press("y", "n", "y", "c")
        assert copied[-1] == f"dagnats run events {run_id}"


async def test_no_text_of_a_stranger_is_acted_upon(
    console: Any, started: Run, session: Session
) -> None:
    idle = step("a", task="nobody")
    run_id = await started("rude", idle, given={HOSTILE: [HOSTILE]}, end=False)
    await waits(session, run_id, "a", "queued")
    await override_step(session, run_id, "a", "fail", HOSTILE)
    async with console(f"run {run_id}") as ui:
        await ui.sees("owned")
        for tab in ("input", "output", "error", "attempts", "logs"):
            ui.app.act_by_id(f"run.tab.{tab}")
            await ui.pilot.pause()
            text = "\n".join(ui.screen())
            assert not any(ord(char) < 32 and char != "\n" for char in text)
            assert not any(char in text for char in "\x9b\u202e\x7f")


async def test_a_hidden_run_is_not_followed_and_catches_up(
    console: Any, started: Run, session: Session
) -> None:
    run_id = await started("w", step("a"), ASK, step("z", "ask"), end=False)
    await waits(session, run_id, "ask")
    async with console(f"run {run_id}") as ui:
        view = ui.app.view
        await ui.until(lambda: view.state.total >= 5)
        await ui.press("2")
        await ui.until(lambda: "events" not in view._tasks)
        await approve(session, run_id, "ask")
        await wait_run(session, run_id, 10)
        known = view.state.total
        await ui.press("backspace")
        await ui.sees("completed   w v1")
        await ui.until(lambda: view.state.total > known)
        assert [event.seq for event in view.state.history.events] == [
            event.seq for event in await run_events(session, run_id)
        ]


async def test_every_relative_has_its_key(console: Any, started: Run, session: Session) -> None:
    first = await started("w", *FAILING)
    again = (await retry_run(session, first)).new_run_id
    await wait_run(session, again, 10)
    places = {
        "ol": ("logs", f"run:{again}"),
        "of": ("flow", "w"),
        "or": ("runs", "wf:w"),
        "oo": ("run", first[:8]),
        "od": ("dlq", f"run:{again}"),
        "db": ("diff", first[:8]),
        "do": ("diff", first[:8]),
    }
    async with console(f"run {again}") as ui:
        await ui.until(lambda: ui.app.view.state.dead)
        for keys, (kind, word) in places.items():
            await ui.press(*keys)
            await ui.until(lambda kind=kind: ui.app.view and ui.app.view.address().kind == kind)
            if kind == "run":
                await ui.sees(f"{word} failed")
            else:
                assert word[:12] in format_address(ui.app.view.address())
            await ui.press("backspace")
            await ui.until(lambda: ui.app.view and ui.app.view.address().kind == "run")
            await ui.sees(f"rerun of {first[:8]}")
