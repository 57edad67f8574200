from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from dagnats.server.embedded import EmbeddedServer
from dagnats.services.session import Session
from dagnats.tui.app import default_theme
from tests.services.conftest import put_run

SECOND = 1_000_000_000


async def some_runs(session: Session, count: int = 30) -> None:
    now = time.time_ns()
    for number in range(count):
        status = ("completed", "failed", "completed")[number % 3]
        name = ("etl", "review")[number % 2]
        await put_run(
            session, f"{number:08x}-run", now - number * SECOND, status=status, workflow_id=name
        )


async def test_runs_are_listed_filtered_and_marked_by_keys(console: Any, session: Session) -> None:
    await some_runs(session)
    async with console("runs") as ui:
        assert "30 of 30" in ui.screen()[-2]
        await ui.press("j", "j", "space")
        table = ui.app.view.table
        assert (table.cursor, table.marks) == (3, {"00000002-run"})
        await ui.press("/")
        await ui.type("failed etl")
        await ui.sees("5 of 30")
        await ui.press("enter")
        assert ui.app.view.address().text == "failed etl"
        await ui.press("escape")
        await ui.sees("30 of 30")


async def test_rows_that_come_in_do_not_move_the_cursor(console: Any, session: Session) -> None:
    await some_runs(session, 60)
    async with console("runs") as ui:
        table = ui.app.view.table
        await ui.press("j", "j")
        await put_run(session, "ffffffff-new", time.time_ns(), status="running")
        await ui.until(lambda: len(table.rows) == 61)
        assert (table.current.run_id, table.cursor - table.top) == ("00000002-run", 2)
        await ui.press("g")
        assert table.current.run_id == "ffffffff-new"


async def test_the_go_line_completes_and_goes(console: Any, session: Session) -> None:
    await some_runs(session, 6)
    async with console("home") as ui:
        await ui.press(":")
        await ui.type("runs sta")
        await ui.sees("runs status:…")
        await ui.press("down", "tab")
        await ui.type("failed")
        await ui.press("enter")
        await ui.sees(":runs status:failed")
        await ui.sees("2 of 6")
        await ui.press("backspace")
        await ui.sees(":home")
        await ui.press(">")
        await ui.sees(":runs status:failed")


async def test_help_lists_the_keys_that_work_here(console: Any) -> None:
    async with console("runs") as ui:
        await ui.press("?")
        await ui.sees("Mark, move down")
        await ui.press("escape")
        await ui.until(lambda: len(ui.app.screen_stack) == 1)


async def test_an_unknown_screen_is_reported_and_nothing_moves(console: Any) -> None:
    async with console("runs") as ui:
        ui.app.go("nowhere")
        await ui.sees('there is no screen "nowhere"')
        ui.app.go("runs nonsense:1")
        await ui.sees("unknown filter nonsense:")


async def test_a_lost_connection_shows_and_heals_and_nothing_is_missed(
    console: Any, session: Session, nats_server: EmbeddedServer
) -> None:
    await some_runs(session, 3)
    async with console("runs") as ui:
        port = nats_server.settings.port
        await nats_server.stop()
        await ui.sees("offline")
        await ui.sees("you can read; actions wait")
        assert "3 of 3" in ui.screen()[-2]
        await nats_server.start()
        assert nats_server.settings.port == port
        await ui.until(lambda: ui.app.feed.link.state == "live")
        await session.bus.nc.flush()
        await put_run(session, "eeeeeeee-late", time.time_ns(), status="failed")
        await ui.sees("4 of 4")


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (200, 60)])
async def test_every_line_is_as_wide_as_the_screen(
    console: Any, session: Session, size: tuple[int, int]
) -> None:
    await some_runs(session, 12)
    async with console("runs", size=size) as ui:
        assert all(len(row) <= size[0] for row in ui.screen())
        assert ui.screen()[0].startswith(" dagnats")


def test_what_the_driver_leans_on_is_there() -> None:
    from textual import constants
    from textual._xterm_parser import XTermParser

    assert "_timeout_time" in vars(XTermParser())
    assert isinstance(constants.ESCAPE_DELAY, float)


async def test_a_theme_is_kept_and_terminals_get_what_they_can_show(
    console: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGNATS_UI_STATE", str(tmp_path / "ui.json"))
    async with console("runs") as ui:
        await ui.press("T", "2")
        await ui.until(lambda: ui.app.look.theme == "dagnats-light")
    env = {"TERM": "xterm-256color"}
    assert default_theme(env) == "dagnats-light"
    assert default_theme(env | {"NO_COLOR": "1"}) == "dagnats-ansi"
    assert default_theme({"TERM": "linux"}) == "dagnats-ansi"


async def test_filters_are_saved_and_found_again(
    console: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGNATS_UI_STATE", str(tmp_path / "ui.json"))
    async with console("runs status:failed") as ui:
        await ui.press("F")
        await ui.type("burning")
        await ui.press("enter")
        await ui.sees("saved as burning")
        ui.app.go("runs")
        await ui.until(lambda: not ui.app.view.address().terms)
        await ui.press("'", "1")
        await ui.until(lambda: ui.app.view.address().terms)
